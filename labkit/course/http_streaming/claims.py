"""What 03_http_streaming claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.claims.faults import LOST
from labkit.course.alone import in_a_lab
from labkit.course.http_streaming import judges, judges_reading, judges_wire
from labkit.course.http_streaming.borders import boundaries, rechunked
from labkit.course.http_streaming.buffering import first_shown
from labkit.course.http_streaming.ends import endings, seconds
from labkit.course.http_streaming.framing import framings
from labkit.course.http_streaming.nagle import two_writes
from labkit.course.http_streaming.one_response import goes_on_answering, streams
from labkit.course.http_streaming.recycling import recycled

CLAIMS = of_notebook(
    "03_http_streaming",
    Claim(
        "S1",
        source="founding notes; RFC 6202 section 3.1",
        sentence="HTTP/1.0에서는 EOF만 사용가능 (HTTP/1.0 can only use EOF), "
        "HTTP/1.1에서는 EOF와 chunked transfer 둘다 사용가능함 (HTTP/1.1 can use both EOF and chunked transfer); "
        "“An HTTP/1.0 server can use only EOF as a streaming mechanism. In contrast, "
        'both EOF and "chunked transfer" are available to an HTTP/1.1 server.”',
        unit="",
        measures="events that came in time, by version and framing",
        judge=judges_wire.which_framing_can_stream,
        experiment=in_a_lab(framings),
    ),
    Claim(
        "S1b",
        source="founding notes",
        sentence="EOF와 chunked transfer를 사용하여 연결을 지속함 "
        "(EOF and chunked transfer are used to keep the connection)",
        unit="",
        judge=judges_wire.which_framing_keeps_the_connection,
        experiment=in_a_lab(seconds),
    ),
    Claim(
        "S1c",
        source="founding notes",
        sentence="한번 응답을 보내고 커넥션이 끊어지는 것이 아니라 계속 응답을 보낼 수 있음 "
        "(the connection does not end with one response, it can go on to send responses)",
        unit="events",
        judge=goes_on_answering,
        experiment=in_a_lab(streams),
    ),
    Claim(
        "S2",
        source="RFC 6202 section 3.1",
        sentence="“The main issue with EOF is that it is difficult to tell the difference between a connection"
        " terminated by a fault and one that is correctly terminated.”",
        unit="",
        judge=judges_wire.a_fault_looks_like_the_end,
        experiment=in_a_lab(endings),
    ),
    Claim(
        "S3",
        source="RFC 6202 section 3.2",
        sentence="“an HTTP streaming protocol's average and maximal latency is one network transit. [...] the "
        "maximal latency is at least three network transits.” [since a stream is ended now and then, and asked for "
        "again]",
        latency_of="http-streaming",
        measures="median latency of a stream that is not recycled",
        judge=judges.streaming_and_its_ends,
        experiment=in_a_lab(recycled),
    ),
    Claim(
        "S5",
        source="RFC 6202 section 3.2",
        sentence="“it is not possible to use the HTTP chunks as application message delimiters, since "
        'intermediate proxies might "re-chunk" the message stream”',
        unit="",
        measures="share of the messages that a parser of chunks found, by path",
        judge=judges_reading.chunks_are_not_messages,
        experiment=in_a_lab(rechunked),
    ),
    Claim(
        "S6",
        source="RFC 6202 section 3.2",
        sentence="“There is no requirement in existing HTTP specifications for a client library to make the "
        "data from a partial HTTP response available to the client application.”",
        unit="bytes",
        measures="most bytes that a client wanted before it showed anything",
        judge=judges_reading.clients_may_buffer,
        experiment=first_shown,
    ),
    Claim(
        "S8",
        source="practice",
        sentence="multipart lags by one event when the boundary leads",
        unit="events",
        measures="events by which a part is late if the boundary leads",
        provokes=frozenset({LOST}),  # of a leading boundary the last event, which nothing follows
        judge=judges_reading.multipart_lags,
        experiment=in_a_lab(boundaries),
    ),
    Claim(
        "T2",
        source="practice",
        sentence="Nagle and delayed acknowledgement add a step",
        measures="median wait of two writes where the client has just asked",
        judge=judges_reading.nagle_adds_a_step,
        experiment=two_writes,
    ),
)
