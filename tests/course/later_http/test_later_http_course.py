"""14_later_http: the experiments at small size over real sockets, and checks that tell wrong worlds from right ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit.course import claims, later_http
from labkit.course.later_http import chromium, edges, loss, page_streams, raw, scripted
from labkit.course.later_http.both_versions import SameStream
from labkit.course.later_http.claims import CLAIMS
from labkit.course.later_http.ends import Ending, Endings
from labkit.course.later_http.fronts import Front, Fronts
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.later_http.not_run import NotRun
from labkit.course.later_http.page_streams import ManyStreams, Page
from labkit.course.later_http.price import BROWSER, KIT, Exchange, Price
from labkit.course.later_http.reloading import Drain, Drained
from labkit.course.later_http.settings_said import FirstWords, Words
from labkit.course.later_http.standing_still import STREAMS, Stalled
from labkit.course.later_http.tabs_sharing import LEADER, OWN, SharedTabs, Shares
from labkit.course.later_http.windows import EVENTS, UNREAD, WINDOWS, Sibling, Windows, starves

D = 0.05
pytestmark = pytest.mark.timeout(60 * UNIT)


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("later-http-course-test", http=(1, 2)) as lab:
        yield lab


def verdict(id: str, seen: Any) -> str:
    return claims.judge(id, seen).verdict


def test_every_claim_has_its_experiment_and_its_check_but_for_http3() -> None:
    ids = ["S7", "S7b", "S9", "L11b", *(f"H{n}" for n in range(1, 8))]
    assert [claim.id for claim in CLAIMS] == ids
    assert [claim.id for claim in CLAIMS if not (claim.experiment and claim.judge)] == ["S7b"]


def test_where_nothing_speaks_http2_a_cell_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "real_intermediary", lambda *_, **__: labkit.real_intermediary("nginx"))
    monkeypatch.setattr(type(labkit.real_intermediary("nginx")), "missing", "nginx is not installed: apt install nginx")
    with labkit.Lab("alone") as alone:
        seen = later_http.same_stream(alone)
    assert isinstance(seen, NotRun) and "apt install nginx" in seen.chart()._repr_html_()
    assert verdict("S7", seen) == "not run" and "apt install nginx" in claims.judge("S7", seen).reason


def test_without_h2_the_lab_speaks_http1_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h2", None)
    monkeypatch.setitem(__import__("sys").modules, "h2.config", None)
    with later_http.lab() as alone:
        assert alone.http == (1,) and "labkit[http2]" in capsys.readouterr().out
    assert "labkit[http2]" in repr(later_http.endings())


# S7


def test_a_stream_without_a_latency_took_no_0_ms() -> None:
    ids = tuple(range(1, 41))
    took_s = {OLD: [D] * 40, NEW: []}
    seen = SameStream(ids, {OLD: ids, NEW: ids}, took_s, {OLD: {}, NEW: {}}, (), D, 0.002, "simulated")
    found = claims.judge("S7", seen)
    assert (found.verdict, found.measured) == ("undecided", None) and "0 ms" not in found.whole


def test_the_same_stream_goes_on_over_http2(lab: labkit.Lab) -> None:
    seen = later_http.same_stream(lab, events=10)
    assert verdict("S7", seen) in ("refined", "undecided"), claims.judge("S7", seen)
    assert "chunked" in seen.fields[OLD]["transfer-encoding"] and "transfer-encoding" not in seen.fields[NEW]
    assert [one.frame.name for one in seen.frames[:3]] == ["HEADERS", "HEADERS", "DATA"]
    lost = {**seen.got, NEW: seen.got[NEW][1:]}
    assert verdict("S7", replace(seen, got=lost)) == "refuted"
    assert verdict("S7", replace(seen, fields={**seen.fields, NEW: {"transfer-encoding": "chunked"}})) == "refuted"
    assert seen.chart().data and "END_STREAM" in seen._repr_html_()


# S9, L11b

PAGES = ManyStreams({OLD: Page("http/1.1", 8, (0.01,) * 6, 0.01), NEW: Page("h2", 100, (0.1,) * 100)}, "Chrome/1")


def test_six_streams_and_a_hundred_are_confirmed_and_other_numbers_refuted() -> None:
    assert verdict("S9", PAGES) == "confirmed"
    for name, page in (
        (OLD, Page("http/1.1", 8, (0.01,) * 8)),
        (OLD, Page("http/1.1", 8, (0.01,) * 6)),
        (NEW, Page("h2", 100, (0.1,) * 6, 0.01)),
    ):
        assert verdict("S9", replace(PAGES, pages={**PAGES.pages, name: page})) == "refuted"
    slow = replace(PAGES.pages[NEW], began_s=(0.1,) * 50)
    assert verdict("S9", replace(PAGES, pages={**PAGES.pages, NEW: slow})) == "undecided"
    spoke = replace(PAGES.pages[NEW], protocol="http/1.1")
    assert verdict("S9", replace(PAGES, pages={**PAGES.pages, NEW: spoke})) == "not run"


def test_without_a_browser_a_recorded_figure_says_so_and_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find", lambda: "")
    seen = later_http.many_streams()
    assert seen.recorded and "apt install chromium" in repr(seen) and page_streams.RECORDED in repr(seen)
    assert page_streams.RECORDED in seen.chart().layout.title.subtitle.text and verdict("S9", seen) == "not run"
    assert seen.chart().layout.title.text == "6 of 8 streams begin over HTTP/1.1, 100 of 100 over HTTP/2"
    assert verdict("L11b", later_http.shared_tabs()) == "not run"


def test_shared_tabs_that_lose_an_event_or_do_not_share_are_refuted() -> None:
    ids = tuple(range(1, 21))
    ways = {
        LEADER: Shares("http/1.1", ids, {"a": ids, "b": ids}, 3, 2),
        OWN: Shares("h2", ids, {"a": ids, "b": ids}, 1, 0),
    }
    seen = SharedTabs(ways, "Chrome/1")
    assert verdict("L11b", seen) == "confirmed"
    for name, change in (
        (LEADER, {"got": {"a": ids, "b": ids[:9] + ids[10:]}}),
        (LEADER, {"got": {"a": ids, "b": (*ids, 20)}}),
        (LEADER, {"leaders": 1}),
        (OWN, {"connections": 3}),
        (OWN, {"protocol": "http/1.1"}),
    ):
        assert verdict("L11b", replace(seen, ways={**ways, name: replace(ways[name], **change)})) == "refuted"  # type: ignore[arg-type]


# H1


def test_a_server_that_ends_before_its_client_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with scripted.http1("chunked", "end") as heard:
            reader, writer = await asyncio.open_connection("127.0.0.1", heard.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(0)
        writer.close()

    asyncio.run(work())
    assert not caplog.records


def test_of_an_ending_that_nobody_was_tried_on_and_of_a_connection_nothing_is_said() -> None:
    told = {"end": "", "give up": "RST_STREAM", "cut": "no end came"}
    cases = [Ending("x", "HTTP/2", how, said) for how, said in told.items()]  # type: ignore[arg-type]
    fooled = Ending("x", "EOF", "cut", "")
    whole = claims.judge("H1", Endings([*cases, fooled]))
    assert whole.verdict == "confirmed" and "connection" not in whole.whole
    again = [replace(case, again=True) for case in cases]
    assert "leaves the connection" in claims.judge("H1", Endings([*again, fooled])).reason
    for left_out in cases:
        assert verdict("H1", Endings([case for case in cases if case is not left_out] + [fooled])) == "undecided"


def test_an_end_and_a_fault_are_two_things_over_http2() -> None:
    seen = later_http.endings()
    assert verdict("H1", seen) == "confirmed", claims.judge("H1", seen)
    silent = [replace(case, said="") if case.how == "give up" else case for case in seen.cases]
    closed = [replace(case, again=False) if case.how == "give up" else case for case in seen.cases]
    assert verdict("H1", replace(seen, cases=silent)) == "refuted"
    if any(case.again is not None for case in seen.cases):
        assert verdict("H1", replace(seen, cases=closed)) == "refuted"
    assert verdict("H1", Endings([Ending("x", "HTTP/2", "end", "an error")])) == "refuted"


# H2


def test_a_poll_costs_what_theory_says_until_the_table_forgets(lab: labkit.Lab) -> None:
    seen = later_http.header_price(lab, polls=60)
    assert verdict("H2", seen) == "refined", claims.judge("H2", seen).whole
    assert seen.resent(BROWSER) and abs(seen.resent(BROWSER)[0] - seen.forgets_at[BROWSER]) <= 2
    assert seen.share_left(BROWSER) < 0.2 and len(seen.chart().data) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda polls: [replace(one, request=one.request + 5) for one in polls],
        lambda polls: [replace(one, request=one.request - 5) for one in polls],
        lambda polls: [replace(one, answer=400) for one in polls],
    ],
    ids=["a table that is not used", "less than theory", "answers in full"],
)
def test_headers_that_do_not_vanish_are_refuted(change: Any) -> None:
    old, new = [Exchange(600, 180)] * 50, [Exchange(470, 110), *[Exchange(58, 15, 58)] * 49]
    seen = Price({(f, v): new if v == NEW else old for f in (KIT, BROWSER) for v in (OLD, NEW)},
                 {KIT: 60, BROWSER: 60}, "a server")  # fmt: skip
    assert verdict("H2", seen) == "refined"
    changed = [new[0], *change(new[1:])]
    assert verdict("H2", replace(seen, polls={**seen.polls, (BROWSER, NEW): changed})) == "refuted"


# H3


def test_windows_of_no_server_decide_nothing() -> None:
    assert verdict("H3", Windows([], D, 0.0)) == "undecided"


def world(server: str, law: Any) -> Windows:
    cells = [(unread, windows) for windows in WINDOWS for unread in UNREAD]
    late_s = (D,) * EVENTS
    return Windows([Sibling(server, *c, late_s, 0 if law(*c) else EVENTS) for c in cells], D, 0.001)


def test_a_stream_starves_where_unread_ones_hold_the_window_and_nowhere_else() -> None:
    assert verdict("H3", world("nginx", starves)) == "refined"
    assert verdict("H3", world(edges.LAB, lambda *c: starves(*c, edges.LAB))) == "refined"
    assert verdict("H3", world("nginx", lambda *_: False)) == "refuted"
    assert verdict("H3", world(edges.LAB, starves)) == "refuted"
    assert verdict("H3", replace(world("nginx", lambda *_: False), late_s=1.0)) == "undecided"


@pytest.mark.timing
def test_unread_streams_hold_half_of_the_window_each_at_this_lab(lab: labkit.Lab) -> None:
    seen = later_http.starved(lab, one_way_s=0.02)
    assert verdict("H3", seen) in ("refined", "undecided"), claims.judge("H3", seen)
    assert {one.server for one in seen.siblings} >= {edges.LAB} and seen.chart().data


# H4


def stalled(old: int, new: int) -> Stalled:
    late_s = {name: [[D, 0.45 if n < stuck else D] for n in range(STREAMS)] for name, stuck in ((OLD, old), (NEW, new))}
    return Stalled(late_s, D, 0.1, (0.0, 0.4), 5 * D, 0.001, "a relay")


def test_one_of_ten_and_ten_of_ten_is_illustrated_and_anything_else_refuted() -> None:
    assert verdict("H4", stalled(1, 10)) == "illustrated"
    assert verdict("H4", replace(stalled(1, 10), real=True)) == "confirmed"
    assert [verdict("H4", stalled(*wrong)) for wrong in ((0, 10), (10, 10), (1, 9))] == ["refuted"] * 3


@pytest.mark.timing
def test_one_connection_holds_up_all_of_its_streams(lab: labkit.Lab) -> None:
    seen = later_http.one_stalls(lab)
    assert verdict("H4", seen) in ("illustrated", "undecided"), (claims.judge("H4", seen), seen.late_s)
    assert len(seen.chart().data) == 2 * STREAMS


@pytest.mark.timing
@pytest.mark.timeout(120 * UNIT)
def test_a_lost_packet_holds_up_what_shares_its_connection() -> None:
    lost = later_http.one_lost_packet()
    if lost.why:
        pytest.skip(lost.why)
    found = claims.judge("H4", lost)
    assert found.verdict in ("confirmed", "undecided"), (found, lost.late_s)
    if found.verdict == "confirmed":
        assert all(len(late) == 14 for each in lost.late_s.values() for late in each)


def test_where_no_namespace_is_to_be_had_the_relays_run_stands_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss.shutil, "which", lambda _: None)
    lost = later_http.one_lost_packet(otherwise=stalled(1, 10))
    assert "no packet was lost here (it takes Linux" in repr(lost) and verdict("H4", lost) == "illustrated"
    assert verdict("H4", later_http.one_lost_packet()) == "not run"


# H5


def test_a_browser_that_takes_promises_would_not_refute_push() -> None:
    asked = FirstWords([Words("Chrome/1", {"ENABLE_PUSH": 0}, 1 << 20), Words("node", {}, 65_535)], {})
    assert verdict("H5", asked) == "refuted" and "65,535 *" in repr(asked)
    assert verdict("H5", replace(asked, heard=[Words("Chrome/1", {}, 65_535)])) == "undecided"
    assert verdict("H5", replace(asked, heard=asked.heard[1:], missing={"Chrome": "no Chromium"})) == "not run"


def test_first_words_are_heard_of_clients_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find", lambda: "")
    seen = later_http.first_words()
    assert seen.heard[0].settings["INITIAL_WINDOW_SIZE"] == raw.DEFAULT_WINDOW
    assert "no Chromium here" in seen.missing["Chrome"]


# H6, H7

IDS = tuple(range(1, 31))
DRAINED = Drained({OLD: Drain("", None, IDS, IDS, False), NEW: Drain("GOAWAY", 0.1, IDS, IDS, True)}, "nginx 1")


def test_a_reload_that_says_nothing_or_loses_an_event_is_refuted() -> None:
    assert verdict("H6", DRAINED) == "confirmed" and verdict("H6", Drained(why="nginx is missing")) == "not run"
    for name, change in (
        (NEW, {"told": ""}),
        (NEW, {"got": IDS[1:]}),
        (NEW, {"got": (*IDS, 30)}),
        (NEW, {"gone": False}),
        (OLD, {"gone": True}),
    ):
        clients = {**DRAINED.clients, name: replace(DRAINED.clients[name], **change)}  # type: ignore[arg-type]
        assert verdict("H6", replace(DRAINED, clients=clients)) == "refuted"


FRONT = Front("nginx 1", 128, False, 20, 20, D, (105, 105), {"chunked": "RST_STREAM", "ended by close": "END_STREAM"},
              {1: 0, 2: 0})  # fmt: skip


@pytest.mark.parametrize(
    ("change", "wanted"),
    [({}, "refined"), ({"up": 1}, "refuted"), ({"held": {1: 0, 2: 10}}, "refuted"), ({"up": None}, "undecided")],
    ids=["as it is", "one connection", "the version lets it through", "nobody can say"],
)
def test_behind_the_edge_each_stream_has_its_connection(change: dict[str, Any], wanted: str) -> None:
    assert verdict("H7", Fronts([replace(FRONT, **change)], {})) == wanted


@pytest.mark.timing
def test_nginx_is_reloaded_and_is_an_edge(lab: labkit.Lab) -> None:
    if missing := labkit.real_intermediary("nginx").missing:
        pytest.skip(missing)
    seen = later_http.drained(lab)
    assert verdict("H6", seen) == "confirmed", claims.judge("H6", seen)
    fronts = later_http.at_the_edge(["nginx"])
    assert verdict("H7", fronts) == "refined", claims.judge("H7", fronts)
    assert fronts.fronts[0].ends["ended by close"] == "END_STREAM"
