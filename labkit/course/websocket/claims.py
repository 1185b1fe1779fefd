"""What 05_websocket claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.websocket import judges
from labkit.course.websocket.beside_tcp import against_tcp
from labkit.course.websocket.compression import deflate
from labkit.course.websocket.crossing import both_ways
from labkit.course.websocket.frame_headers import headers
from labkit.course.websocket.silent_links import dead_peers
from labkit.course.websocket.trials import conformance
from labkit.course.websocket.upgrade import handshake

CLAIMS = of_notebook(
    "05_websocket",
    Claim(
        "W1",
        source="founding notes",
        sentence="HTTP 프로토콜을 사용하지 않음 (it does not use the HTTP protocol)",
        unit="",
        judge=judges.begins_as_http,
        experiment=in_a_lab(handshake),
    ),
    Claim(
        "W2",
        source="founding notes",
        sentence="양방향으로 ... 언제든 서로 데이터를 보낼 수 있음 (both ways, either side can send at any time)",
        measures="median latency, both ways together",
        judge=judges.either_side_at_any_time,
        experiment=in_a_lab(both_ways),
    ),
    Claim(
        "W3",
        source="RFC 6455 section 5.2",
        sentence="a header of 2, 4 or 10 bytes, and 4 more when it is masked",
        unit="bytes",
        judge=judges.headers_are_2_4_or_10,
        experiment=in_a_lab(headers),
    ),
    Claim(
        "W4",
        source="RFC 6455 section 5.1",
        sentence="a client MUST mask all frames that it sends to the server [...] A server MUST NOT mask any "
        "frames that it sends to the client.",
        unit="",
        judge=judges.masked_one_way,
        experiment=in_a_lab(conformance),
    ),
    Claim(
        "W5",
        source="RFC 6455 section 5.4",
        sentence="Control frames (see Section 5.5) MAY be injected in the middle of a fragmented message. "
        "Control frames themselves MUST NOT be fragmented.",
        unit="",
        judge=judges.control_frames_between,
        experiment=in_a_lab(conformance),
    ),
    Claim(
        "W6",
        source="RFC 6455 section 7.4.1",
        sentence="1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by an"
        " endpoint. [and which other codes may travel]",
        unit="",
        judge=judges.which_codes_travel,
        experiment=in_a_lab(conformance),
    ),
    Claim(
        "W7",
        source="RFC 6455 section 5.5.2",
        sentence="A Ping frame may serve either as a keepalive or as a means to verify that the remote "
        "endpoint is still responsive.",
        measures="until the last dead peer was noticed; expected is the limit",
        limit=True,
        judge=judges.a_ping_finds_the_dead,
        experiment=dead_peers,
    ),
    Claim(
        "W9",
        source="RFC 7692",
        sentence="compression saves bytes and costs CPU and memory",
        unit="",
        measures="share of the bytes that is left of small messages",
        judge=judges.compression_saves_and_costs,
        experiment=deflate,
    ),
    Claim(
        "W10",
        source="Agarwal 2012",
        sentence="against raw TCP the overhead of HTML sockets is up to 5 times, their delay up to 3 times",
        unit="",
        measures="most times the bytes, and times the round trip, of bare TCP",
        judge=judges.within_five_and_three,
        experiment=in_a_lab(against_tcp),
    ),
    Claim(
        "W11",
        source="Crossbar",
        sentence="12 bytes for the largest frame from a client",
        unit="bytes",
        measures="header of a client's largest frames",
        judge=judges.twelve_bytes_for_the_largest,
        experiment=in_a_lab(headers),
    ),
)
