"""What 01_polling claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim
from labkit.course.alone import in_a_lab
from labkit.course.polling import experiments, judges, judges_load

NOTEBOOK = "01_polling"

CLAIMS = (
    Claim(
        "P1",
        source="founding notes; RFC 6202 section 2.1",
        sentence="서버의 변경에 즉시 대응하지 못함 (it cannot react at once to a change on the server)",
        notebook=NOTEBOOK,
        latency_of="polling",
        judge=judges.polling_is_late,
        experiment=in_a_lab(experiments.sweep),
    ),
    Claim(
        "P2",
        source="RFC 6202 section 2.1",
        sentence="“the consumed resources (server processing and network) strongly depend on the acceptable "
        "latency in the delivery of updates from server to client”",
        unit="bytes",
        notebook=NOTEBOOK,
        judge=judges.cost_rises,
        experiment=in_a_lab(experiments.costs),
    ),
    Claim(
        "P3",
        source="founding notes",
        sentence="커넥션을 유지하지 않아도 돼 서버에 부하가 적음 "
        "(no connection has to be kept, so it is light on the server)",
        notebook=NOTEBOOK,
        judge=judges_load.light_on_the_server,
        experiment=experiments.weigh,
    ),
    Claim(
        "P4",
        source="practice",
        sentence="ETag and 304 make empty polls cheaper",
        unit="",
        notebook=NOTEBOOK,
        judge=judges_load.revalidation_is_cheaper,
        experiment=in_a_lab(experiments.revalidate),
    ),
    Claim(
        "P5",
        source="Kaazing; High Performance Browser Networking",
        sentence="the published overhead tables",
        unit="",
        notebook=NOTEBOOK,
        judge=judges_load.published_overheads,
        experiment=in_a_lab(experiments.overheads),
    ),
    Claim(
        "N1",
        source="founding notes",
        sentence="서버에서 작업이 즉시 처리되지 않고, 처리되기까지 대기 "
        "(work is not processed at once at the server, one waits until it is)",
        notebook=NOTEBOOK,
        judge=judges.waiting_for_a_job,
        experiment=experiments.wait_for_jobs,
    ),
)
