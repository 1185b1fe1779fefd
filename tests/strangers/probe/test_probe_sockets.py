"""What goes wrong with WebSockets: named, or graded as what it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from planted_sockets import (
    cut_when_idle_socket,
    data_alone_counts,
    healthy_socket,
    masked,
    not_upgraded,
    recycled_socket,
    too_large,
)
from planted_streams import LAST, Answer, Step, chunk, head, planted
from steady import probed, rows

from labkit.strangers.probe.probing import probe

PLANTED: dict[str, tuple[Answer, int, str]] = {
    "row 8, an idle limit": (cut_when_idle_socket(itertools.cycle([2, 6])), 8, "seen"),
    "row 12, control frames are not counted": (data_alone_counts(itertools.cycle([2, 6])), 12, "seen"),
    "row 20, answered 426": (not_upgraded, 20, "consistent with"),
    "row 21, closed with 1009": (too_large, 21, "seen"),
    "row 22, a masked frame from a server": (masked, 22, "seen"),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_with_a_socket_is_named_and_nothing_else(name: str) -> None:
    answer, row, grade = PLANTED[name]
    with planted(answer) as url:
        report = probed(url.replace("http://", "ws://"), [(row, grade)], 3.5)
    assert rows(report) == [(row, grade)], str(report)


@pytest.mark.timing
@pytest.mark.parametrize("answer", [healthy_socket, recycled_socket], ids=["healthy", "closed with 1001"])
def test_nothing_is_found_on_a_healthy_socket(answer: Answer) -> None:
    with planted(answer) as url:
        report = probed(url.replace("http://", "ws://"), [], 1)
    assert report.status == 0, str(report)


@pytest.mark.timing
def test_the_address_behind_says_whether_the_upgrade_was_dropped() -> None:
    with planted(not_upgraded) as hop, planted(healthy_socket) as direct:
        report = probed(hop.replace("http", "ws"), [(20, "seen")], 1, also=direct.replace("http", "ws"))
    assert rows(report) == [(20, "seen")]
    assert "proxy_set_header Upgrade" in report.findings[0].remedy[0]


def test_a_page_in_place_of_an_upgrade_is_one_that_was_not_done() -> None:
    def answer(_: str) -> Iterator[Step]:
        yield head("200 OK", "text/html") + chunk(b"<p>Welcome") + LAST

    with planted(answer) as url:
        report = probe(url.replace("http://", "ws://"), seconds=1, say=None)
    assert [(found.row, found.grade) for found in report.findings] == [(20, "consistent with")], str(report)
