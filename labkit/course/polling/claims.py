"""What 01_polling claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.polling import judges, judges_load
from labkit.course.polling.burden import weigh
from labkit.course.polling.intervals import sweep
from labkit.course.polling.per_message import overheads
from labkit.course.polling.price import costs
from labkit.course.polling.revalidation import revalidate
from labkit.course.polling.waiting import wait_for_jobs

CLAIMS = of_notebook(
    "01_polling",
    Claim(
        "P1",
        source="founding notes; RFC 6202 section 2.1",
        sentence="서버의 변경에 즉시 대응하지 못함 (it cannot react at once to a change on the server)",
        latency_of="polling",
        measures="mean latency of those that ask least often",
        judge=judges.polling_is_late,
        experiment=in_a_lab(sweep),
    ),
    Claim(
        "P2",
        source="RFC 6202 section 2.1",
        sentence="“the consumed resources (server processing and network) strongly depend on the acceptable "
        "latency in the delivery of updates from server to client”",
        unit="bytes",
        measures="bytes of a request and its empty answer, from the slope",
        judge=judges.cost_rises,
        experiment=in_a_lab(costs),
    ),
    Claim(
        "P3",
        source="founding notes",
        sentence="커넥션을 유지하지 않아도 돼 서버에 부하가 적음 "
        "(no connection has to be kept, so it is light on the server)",
        measures="interval below which its polls cost more CPU than a silent WebSocket's heartbeats",
        judge=judges_load.light_on_the_server,
        experiment=weigh,
    ),
    Claim(
        "P4",
        source="practice",
        sentence="ETag and 304 make empty polls cheaper",
        unit="",
        measures="share of empty polls from which the condition saves bytes, with a cursor",
        judge=judges_load.revalidation_is_cheaper,
        experiment=in_a_lab(revalidate),
    ),
    Claim(
        "P5",
        source="Kaazing; High Performance Browser Networking",
        sentence="the published overhead tables",
        unit="",
        measures="overhead of a poll over that of a WebSocket message, TCP/IP counted",
        judge=judges_load.published_overheads,
        experiment=in_a_lab(overheads),
    ),
    Claim(
        "N1",
        source="founding notes",
        sentence="서버에서 작업이 즉시 처리되지 않고, 처리되기까지 대기해야하는 상황 "
        "(a situation in which work is not processed at once at the server and one has to wait until it is)",
        measures="mean wait after a job's end, of the client that obeys Retry-After",
        judge=judges.waiting_for_a_job,
        experiment=wait_for_jobs,
    ),
)
