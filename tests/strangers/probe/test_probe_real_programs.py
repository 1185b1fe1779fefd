"""Causes that real programs make, where they are installed (LABKIT_REQUIRE_PROGRAMS)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from planted_hops import dying, pinging_gateway
from planted_programs import as_recommended, behind, by_version, large_by_version
from planted_sockets import healthy_socket, pinging_socket, silent_socket
from planted_streams import CUT, Step, flowing, planted, tool_run
from steady import Pace, probed, rows, steadily

from labkit.lab.lab import Lab
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report


@pytest.mark.timing
def test_nginx_as_it_is_installed_holds_a_stream_and_the_address_behind_shows_it() -> None:
    with planted(by_version(10)) as direct, behind("nginx", direct) as nginx:
        alone = probed(nginx.url, [(1, "consistent with")], 2)
        both = probed(nginx.url, [(1, "seen")], 2, also=direct)
    assert rows(alone) == [(1, "consistent with")], str(alone)
    assert rows(both) == [(1, "seen")], str(both)
    assert both.findings[0].remedy[0].startswith("nginx, in the location:  proxy_http_version 1.1;")


@pytest.mark.timing
def test_nginx_that_holds_an_endless_stream_has_no_head() -> None:
    with planted(by_version(1000)) as direct, behind("nginx", direct) as nginx:
        alone = probed(nginx.url, [(7, "consistent with")], 1)
        both = probed(nginx.url, [(1, "seen")], 1, also=direct)
    assert rows(alone) == [(7, "consistent with")], str(alone)
    assert rows(both) == [(1, "seen")], str(both)


@pytest.mark.timing
def test_two_nginx_in_a_row_one_obeys_and_swallows_and_the_other_holds() -> None:
    direct_stream = by_version(10, "X-Accel-Buffering: no")
    with planted(direct_stream) as direct, behind("nginx", direct) as inner, behind("nginx", inner.url) as outer:
        flows = probed(inner.url, [], 2, also=direct)
        held = probed(outer.url, [(2, "seen")], 2, also=direct)
    assert flows.status == 0, str(flows)
    assert rows(held) == [(2, "seen")], str(held)


@pytest.mark.timing
@pytest.mark.parametrize("route", ["sse", "http-streaming?framing=eof"])
def test_with_a_lab_behind_it_one_address_is_enough(route: str) -> None:
    buffering = ("proxy_pass http://@target@;", "proxy_pass http://@target@; proxy_ignore_headers X-Accel-Buffering;")
    with Lab("behind") as lab, behind("nginx", lab.url, buffering) as nginx:
        held = probed(f"{nginx.url.rstrip('/')}/{route}", [(1, "seen")], 1.5, publish=True)
        direct = probed(f"{lab.url.rstrip('/')}/{route}", [], 1.5, publish=True)
    assert direct.status == 0 and "published through it" in str(direct), str(direct)
    assert rows(held) == [(1, "seen")], str(held)


@pytest.mark.timing
def test_nginx_drops_an_upgrade() -> None:
    with planted(healthy_socket) as direct, behind("nginx", direct) as nginx:
        url, also = nginx.url.replace("http", "ws"), direct.replace("http", "ws")
        both = probed(url, [(20, "seen")], 1, also=also)
        alone = probed(url, [(20, "consistent with")], 1)
    assert rows(both) == [(20, "seen")], str(both)
    assert all(found.row == 20 for found in alone.findings)


@pytest.mark.timing
@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_an_idle_limit_is_told_from_a_lifetime(program: str) -> None:
    def silent(asked: str) -> Iterator[Step]:
        yield from flowing(next(counts))
        yield 20.0
        yield CUT

    def ask() -> Report:
        limit = f"{Pace.factor:.0f}s"
        change = {
            "nginx": ("proxy_pass http://@target@;",
                      f"proxy_pass http://@target@; proxy_http_version 1.1; proxy_read_timeout {limit};"),
            "haproxy": ("timeout server 50s", f"timeout server {limit}"),
        }[program]  # fmt: skip
        with planted(silent) as direct, behind(program, direct, change) as hop:
            return probe(hop.url, seconds=5 * Pace.factor, say=None)

    counts = itertools.cycle([3, 9])
    report = steadily(ask, [(8, "seen")], paces=(1.0, 3.0))
    assert rows(report) == [(8, "seen")], str(report)


@pytest.mark.timing
def test_haproxy_cuts_a_posted_stream_while_a_tool_runs() -> None:
    def ask() -> Report:
        limit = ("timeout server 50s", f"timeout server {Pace.factor:.0f}s")
        with planted(tool_run) as direct, behind("haproxy", direct, limit) as hop:
            return probe(hop.url, data="{}", seconds=4 * Pace.factor, say=None)

    report = steadily(ask, [(8, "consistent with")])
    assert rows(report) == [(8, "consistent with")], str(report)


@pytest.mark.timing
@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_nothing_is_found_behind_a_program_that_is_set_up_for_streams(program: str) -> None:
    with planted(by_version(8)) as direct, as_recommended(program, direct) as hop:
        report = probed(hop.url, [], 1.5, also=direct)
    assert report.status == 0, str(report)


@pytest.mark.timing
def test_nginx_that_lets_a_stream_go_by_full_buffers_is_not_taken_for_a_copying_one() -> None:
    with planted(large_by_version) as direct, behind("nginx", direct) as nginx:
        alone = probed(nginx.url, [(1, "consistent with")])
        both = probed(nginx.url, [(1, "seen")], also=direct)
    assert rows(alone) == [(1, "consistent with")], str(alone)
    assert any("row 28" in cause for cause in alone.findings[0].left)
    assert rows(both) == [(1, "seen")], str(both)


@pytest.mark.timing
def test_nginx_makes_a_crash_a_clean_end_and_the_address_behind_shows_it() -> None:
    with planted(dying(CUT, 8, "X-Accel-Buffering: no")) as direct, behind("nginx", direct) as nginx:
        report = probed(nginx.url, [(27, "seen")], also=direct)
    assert rows(report) == [(27, "seen")], str(report)


@pytest.mark.timing
def test_haproxy_that_lets_small_writes_wait_is_not_taken_for_a_buffer() -> None:
    with planted(by_version(1000)) as direct, behind("haproxy", direct) as hop:
        report = probed(hop.url, [(23, "consistent with")], also=direct)
    assert set(rows(report)) <= {(23, "consistent with")}, str(report)  # nothing, where acknowledgements come in time


def tunnel() -> tuple[str, str]:
    return "timeout server 50s", f"timeout server 50s\n  timeout tunnel {Pace.factor:.0f}s"


@pytest.mark.timing
def test_haproxys_tunnel_time_out_behind_a_gateway_that_pings_counts_messages_alone() -> None:
    def ask() -> Report:
        counts = itertools.cycle([3, 9])
        with planted(silent_socket(counts)) as direct, behind("haproxy", direct, tunnel()) as haproxy:
            with planted(pinging_gateway(haproxy.url)) as gateway:
                return probe(gateway.replace("http:", "ws:"), seconds=6 * Pace.factor, say=None)

    report = steadily(ask, [(12, "seen")], paces=(1.0, 3.0))
    assert rows(report) == [(12, "seen")], str(report)


@pytest.mark.timing
@pytest.mark.parametrize(("each_s", "found"), [(0.25, []), (1.5, [(8, "seen")])], ids=["often", "too seldom"])
def test_haproxys_tunnel_time_out_counts_pings_that_reach_it(each_s: float, found: list[tuple[int, str]]) -> None:
    def ask() -> Report:
        with planted(pinging_socket(itertools.cycle([3, 9]), each_s)) as direct:
            with behind("haproxy", direct, tunnel()) as haproxy:
                return probe(haproxy.url.replace("http:", "ws:"), seconds=5 * Pace.factor, say=None)

    report = steadily(ask, found, paces=(1.0, 3.0))
    assert rows(report) == found, str(report)
