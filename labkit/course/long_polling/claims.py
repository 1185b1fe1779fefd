"""What 02_long_polling claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.long_polling import judges, judges_exchanges, judges_held
from labkit.course.long_polling.asking_again import a_request_again
from labkit.course.long_polling.bounded import threads
from labkit.course.long_polling.equal import equal_requests
from labkit.course.long_polling.event_rates import rates
from labkit.course.long_polling.exchanges import connections, payloads, pipelined
from labkit.course.long_polling.idle_limit import valley
from labkit.course.long_polling.memory import held_clients
from labkit.course.long_polling.no_cursor import unaware

CLAIMS = of_notebook(
    "02_long_polling",
    Claim(
        "L1",
        source="RFC 6202 section 2.2",
        sentence="“while the average latency of long polling is close to one network transit, the maximal "
        "latency is over three network transits”",
        latency_of="long-polling",
        measures="mean latency, at the greatest rate if there are several",
        judge=judges.near_one_transit,
        experiment=in_a_lab(rates),
    ),
    Claim(
        "L1b",
        source="founding notes",
        sentence="폴링에 비해 실시간 처리가 가능 (nearer to real time than polling)",
        unit="times",
        measures="polling's mean latency over long polling's at as many requests, where events are rare",
        judge=judges.nearer_than_polling,
        experiment=in_a_lab(equal_requests),
    ),
    Claim(
        "L2",
        source="founding notes",
        sentence="여러번 응답을 해야 하는 상황에서는 효율이 좋지 않음 "
        "(inefficient where the server has to answer many times)",
        unit="requests/s",
        measures="requests a second at the greatest event rate",
        judge=judges.answering_often,
        experiment=in_a_lab(rates),
    ),
    Claim(
        "L3",
        source="RFC 6202 section 2.2",
        sentence="“A long polling client or server that is under load has a natural tendency to gracefully "
        "degrade in performance at a cost of message latency.”",
        unit="events",
        measures="events per answer at the greatest event rate",
        judge=judges.degrades_gracefully,
        experiment=in_a_lab(rates),
    ),
    Claim(
        "L4",
        source="RFC 6202 section 2.2",
        sentence="“every long poll request and long poll response is a complete HTTP message and thus contains"
        " a full set of HTTP headers in the message framing”",
        unit="",
        measures="share of headers in the exchange that carries least",
        judge=judges_exchanges.full_headers,
        experiment=in_a_lab(payloads),
    ),
    Claim(
        "L5",
        source="RFC 6202 section 2.2",
        sentence="“both polling mechanisms work well with persistent HTTP connections that can be reused for "
        "many poll requests”",
        measures="mean latency with a connection for each request",
        judge=judges_exchanges.persistent_connections,
        experiment=in_a_lab(connections),
    ),
    Claim(
        "L5b",
        source="founding notes",
        sentence="서버가 응답을 한 후 클라이언트가 다시 요청해서 커넥션을 유지해야함 "
        "(after the server has answered, the client has to ask again to keep the connection)",
        unit="requests",
        judge=a_request_again,
        experiment=in_a_lab(connections),
    ),
    Claim(
        "L6",
        source="founding notes; RFC 6202 section 5.5",
        sentence="Time-out 오류가 발생할 수 있음 (time-out errors can occur); 30 s is safer, 120 s has worked",
        measures="the longest hold under the idle limit, which is expected",
        judge=judges_held.time_outs_bite,
        experiment=in_a_lab(valley),
    ),
    Claim(
        "L7",
        source="founding notes; RFC 6202 section 2.2",
        sentence="커넥션을 유지 (it keeps the connection): a connection and a request are held for each client",
        unit="KiB",
        measures="memory that one held client takes, by technique",
        judge=judges_held.a_connection_is_held,
        experiment=held_clients,
    ),
    Claim(
        "L8",
        source="practice",
        sentence="an event between two polls is lost unless there is a cursor",
        unit="",
        measures="share of the events that the client without a cursor lost",
        judge=judges_held.lost_without_a_cursor,
        experiment=in_a_lab(unaware),
    ),
    Claim(
        "L10",
        source="RFC 6202 sections 2.2 and 5.2",
        sentence="“When HTTP pipelining [...] is available, the latency due to the server waiting for a new "
        "request can be avoided.” And practice: a plain GET then queues behind the poll",
        measures="how long a GET behind a parked poll took",
        judge=judges_exchanges.pipelining,
        experiment=in_a_lab(pipelined),
    ),
    Claim(
        "L11",
        source="RFC 6202 section 5.1",
        sentence="few connections to a host: a second tab starves or must share",
        unit="requests",
        measures="requests that were answered with the first",
        judge=judges_held.few_connections,
    ),
    Claim(
        "L12",
        source="practice",
        sentence="holding connections is heavy for a server with a thread for each request",
        measures="how long the one long poll too many waited at the bounded server",
        judge=judges_held.threads_are_held,
        experiment=in_a_lab(threads),
    ),
)
