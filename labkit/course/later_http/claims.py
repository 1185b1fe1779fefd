"""What 14_later_http claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.later_http import judges, judges_of_servers
from labkit.course.later_http.both_versions import same_stream
from labkit.course.later_http.ends import endings
from labkit.course.later_http.fronts import at_the_edge
from labkit.course.later_http.loss import one_loss
from labkit.course.later_http.page_streams import many_streams
from labkit.course.later_http.price import header_price
from labkit.course.later_http.reloading import drained
from labkit.course.later_http.settings_said import first_words
from labkit.course.later_http.tabs_sharing import shared_tabs
from labkit.course.later_http.windows import starved

BOTH = (1, 2)

CLAIMS = of_notebook(
    "14_later_http",
    Claim(
        "S7",
        source="founding notes",
        sentence="그 이후버전에서도 가능할것이라 생각함 (it is thought to be possible in the later versions as well) "
        "[streaming, in the HTTP versions after 1.1]: HTTP/2",
        measures="median latency of a stream over HTTP/2",
        judge=judges.later_versions_stream,
        experiment=in_a_lab(same_stream, http=BOTH),
    ),
    Claim(
        "S7b",
        source="founding notes",
        sentence="the same guess: HTTP/3",
        unit="",
        not_run="this kit speaks HTTP/1 and HTTP/2: nothing here serves HTTP/3",
    ),
    Claim(
        "S9",
        source="practice",
        sentence="many streams starve a browser on HTTP/1.1: the seventh waits; on HTTP/2 it does not",
        unit="streams",
        measures="streams of one page, of a hundred, that begin over HTTP/2",
        judge=judges.the_seventh_waits,
        experiment=many_streams,
    ),
    Claim(
        "L11b",
        source="RFC 6202 section 5.1; practice",
        sentence="the remedy for few connections to a host: one connection, shared by all tabs",
        unit="connections",
        measures="connections of three tabs over HTTP/2",
        judge=judges.tabs_share,
        experiment=shared_tabs,
    ),
    Claim(
        "H1",
        source="RFC 9113 sections 5.1 and 5.4.2; practice",
        sentence="over HTTP/2 a fault does not look like the end of a body, as it does with EOF",
        unit="endings",
        judge=judges.an_end_is_an_end,
        experiment=endings,
    ),
    Claim(
        "H2",
        source="RFC 7541 section 1; practice",
        sentence="“the redundant header fields in these requests unnecessarily consume bandwidth”; over HTTP/2 they "
        "cost next to nothing",
        unit="bytes",
        measures="headers of a browser's poll and its answer over HTTP/2, the last of a hundred",
        judge=judges.headers_nearly_vanish,
        experiment=in_a_lab(header_price, http=BOTH),
    ),
    Claim(
        "H3",
        source="RFC 9113 section 5.2",
        sentence="“A flow-control scheme ensures that streams on the same connection do not destructively interfere "
        "with each other.”",
        unit="connections",
        measures="connections, of all, whose read stream starves",
        judge=judges.windows_keep_streams_apart,
        experiment=in_a_lab(starved, http=BOTH),
    ),
    Claim(
        "H4",
        source="RFC 9114 section 1.1",
        sentence="“a lost or reordered packet causes all active transactions to experience a stall regardless of "
        "whether that transaction was directly impacted by the lost packet”",
        unit="streams",
        measures="streams held up, of ten",
        judge=judges.one_loss_stops_all,
        experiment=in_a_lab(one_loss, http=BOTH),
    ),
    Claim(
        "H5",
        source="practice",
        sentence="with HTTP/2's server push a server can push events to a page",
        unit="",
        judge=judges.push_reaches_no_page,
        experiment=first_words,
    ),
    Claim(
        "H6",
        source="RFC 9113 section 6.8",
        sentence="“GOAWAY allows an endpoint to gracefully stop accepting new streams while still finishing processing "
        "of previously established streams.”",
        measures="from the reload until the stream has gone on elsewhere",
        judge=judges_of_servers.goaway_drains,
        experiment=in_a_lab(drained),
    ),
    Claim(
        "H7",
        source="practice",
        sentence="HTTP/2 at the edge is enough",
        unit="connections",
        measures="connections to the server for twenty streams",
        judge=judges_of_servers.the_edge_is_not_the_path,
        experiment=at_the_edge,
    ),
)
