"""What a page tells a lab, and what a subscriber in a page is without one: everything that needs no browser."""

from __future__ import annotations

import gc
import json
import logging
import math
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

import labkit
from conftest import UNIT
from labkit import loop
from labkit.errors import LabClosed, LabkitError, UnknownTechnique
from labkit.lab.page_clock import ROUND_TRIPS, TICK_MS, Clock
from labkit.lab.pages import MAX_PAGES, MAX_STREAMS, Malformed, Pages
from labkit.server.tokens import MAX_TOKENS, Tokens
from labkit.techniques import Delivery, Technique
from labkit.techniques.sse import SSE
from labkit.wire.events import Gap
from wait import until

NAMES = ["polling", "long-polling", "http-streaming", "sse", "websocket", "notebook-comm"]
ARRIVED = {"sse": [[1, 2.0, 5]]}
JUPYTER = "https://hub.example.org"


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("pages") as running:
        yield running


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


# -- the clock -------------------------------------------------------------------------------------------------------

delays_ms = st.floats(0.01, 500)
trips = st.lists(st.tuples(delays_ms, st.floats(0, 5), delays_ms, st.floats(0.1, 100)), min_size=1, max_size=40)


@given(trips=trips, offset_ms=st.floats(-1e9, 1e9))
def test_the_true_offset_is_within_the_error_however_uneven_the_delays(
    trips: list[tuple[float, float, float, float]], offset_ms: float
) -> None:
    clock, page_ms = Clock(), 1000.0
    for up_ms, within_ms, down_ms, between_ms in trips:
        received_ms = page_ms + offset_ms + up_ms
        answered_ms = page_ms + up_ms + within_ms + down_ms
        clock.add(page_ms, answered_ms, round(received_ms * 1e6), round((received_ms + within_ms) * 1e6))
        page_ms = answered_ms + between_ms
    estimate_ms, error_ms = clock.estimate
    assert abs(estimate_ms - offset_ms) <= error_ms + 1e-3
    recent = trips[-ROUND_TRIPS:]
    assert error_ms <= min(up + down for up, _, down, _ in recent) / 2 + TICK_MS + 1e-3


def test_of_a_clock_that_was_set_only_the_trips_after_that_count() -> None:
    clock = Clock()
    clock.add(0.0, 1.0, 500_000, 500_000)
    clock.add(100.0, 104.0, 902_000_000, 902_000_000)  # the page's clock has lost 800 ms meanwhile
    estimate_ms, error_ms = clock.estimate
    assert estimate_ms == pytest.approx(800.0)
    assert error_ms == pytest.approx(2.0 + TICK_MS)


def test_a_machine_that_slept_is_known_by_its_first_trip_after_that() -> None:
    clock = Clock()
    for number in range(ROUND_TRIPS):
        slept_ms = 20_000.0 if number >= ROUND_TRIPS - 3 else 0.0  # of which the page's clock saw nothing
        lab_ns = round((number * 2000.0 + slept_ms + 0.75) * 1e6)
        clock.add(number * 2000.0, number * 2000.0 + 1.5, lab_ns, lab_ns)
        estimate_ms, error_ms = clock.estimate
        assert abs(estimate_ms - slept_ms) <= error_ms <= 0.75 + TICK_MS + 1e-6


# -- the registry ----------------------------------------------------------------------------------------------------


def attach(pages: Pages, subscriber: str = "s", page: str = "p", *streams: str, socket: object = None) -> Any:
    told = {"subscriber": subscriber, "page": page, "topic": "", "streams": list(streams or ["sse"])}
    attached, _ = pages.attach(told, socket or object(), "0@abcd")
    attached.clock.add(0.0, 1.0, 5_000_000, 5_000_000)
    return attached


def test_a_report_that_comes_twice_counts_once() -> None:
    pages = Pages()
    page = attach(pages)
    told = {"report": 1, "arrivals": {"sse": [[1, 10.0, 3]]}, "cursors": {"sse": "1@abcd"}}
    assert [pages.report(page, told), pages.report(page, told)] == [1, 1]
    (stream,) = pages.of("s")[0]["streams"]
    assert (stream["count"], stream["newest"], stream["cursor"]) == (1, 1, "1@abcd")
    event_id, received_ns, error_ms, payload_bytes = stream["arrivals"][0]
    assert (event_id, payload_bytes) == (1, 3)
    assert received_ns == pytest.approx((10.0 + 4.5) * 1e6)
    assert error_ms == pytest.approx(0.5 + TICK_MS)


def test_only_what_the_caller_has_not_is_fetched() -> None:
    pages = Pages()
    page = attach(pages)
    pages.report(page, {"report": 1, "arrivals": {"sse": [[n, 10.0 + n, 3] for n in range(1, 6)]}})
    (told,) = pages.of("s", {"p sse": 3})
    assert [arrival[0] for arrival in told["streams"][0]["arrivals"]] == [4, 5]
    assert told["streams"][0]["count"] == 5


def test_a_page_that_comes_back_goes_on_and_its_absence_is_known() -> None:
    pages = Pages()
    first, second = object(), object()
    page = attach(pages, socket=first)
    pages.report(page, {"report": 7, "arrivals": {"sse": [[1, 10.0, 3]]}, "cursors": {"sse": "1@abcd"}})
    pages.detach(page, first)
    assert not pages.of("s")[0]["attached"]
    again = attach(pages, socket=second)
    assert (again.kept, again.streams["sse"].cursor) == (7, "1@abcd")
    (told,) = pages.of("s")
    assert told["attached"] and len(told["away"]) == 1
    pages.detach(again, first)  # the old connection's end changes nothing now
    assert pages.of("s")[0]["attached"]


def test_subscribers_of_a_technique_have_numbers_of_their_own_and_free_ones_are_used_again() -> None:
    pages = Pages()
    assert [attach(pages, "s", name).streams["sse"].number for name in ("a", "b")] == [0, 1]
    assert attach(pages, "t", "c", "websocket").streams["websocket"].number == 0
    pages.forget("s")
    assert attach(pages, "t", "d").streams["sse"].number == 0


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.lab.pages.MAX_ARRIVALS", 10)
    pages = Pages()
    page = attach(pages, "s", "p", *[f"t{n}" for n in range(MAX_STREAMS + 5)])
    assert len(page.streams) == MAX_STREAMS
    pages.report(page, {"report": 1, "arrivals": {"t0": [[n, float(n), 1] for n in range(1, 26)]}})
    stream = pages.of("s")[0]["streams"][0]
    assert ([row[0] for row in stream["arrivals"]], stream["forgotten"]) == (list(range(16, 26)), 15)
    for number in range(MAX_PAGES - 1):
        attach(pages, "s", f"more {number}")
    with pytest.raises(Malformed, match="close one"):
        attach(pages, "s", "one too many")
    pages.detach(page, page.socket)
    attach(pages, "s", "in its place")
    assert "p" not in [told["id"] for told in pages.of("s")]


# -- /browser --------------------------------------------------------------------------------------------------------


def converse(lab: labkit.Lab, *messages: object, **headers: str) -> list[dict[str, Any]]:
    """What /browser says, first of itself and then to each message."""

    async def talk() -> list[dict[str, Any]]:
        request = HTTPRequest(f"ws://127.0.0.1:{lab.port}/browser", headers=headers)
        socket = await websocket_connect(request)
        try:
            told = [json.loads(str(await socket.read_message()))]
            for message in messages:
                data = message if isinstance(message, str | bytes) else json.dumps(message)
                await socket.write_message(data, binary=isinstance(data, bytes))
                told.append(json.loads(str(await socket.read_message())))
            return told
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass

    return loop.run(talk())


def test_a_page_is_told_first_which_lab_this_is_and_its_clock_is_answered(lab: labkit.Lab) -> None:
    first, clock = converse(lab, {"clock": 12.5})
    assert first == {"lab": lab.id}
    assert clock["clock"] == 12.5
    assert clock["received_ns"] <= clock["sent_ns"]


@pytest.mark.parametrize(
    "message",
    [
        "", "nothing", b"\xff\xfe", "[]", "17", "{}", '{"clock": "now"}', '{"attach": 1}', '{"attach": {}}',
        '{"attach": {"subscriber": "s", "page": 7, "streams": []}}', '{"report": 1}', "[" * 5000,
        '{"attach": {"subscriber": "s", "page": "p", "streams": [1]}}', '{"clock": NaN, "last": {}}',
    ],
)  # fmt: skip
def test_what_is_no_report_is_answered_and_costs_nothing_else(lab: labkit.Lab, message: str | bytes) -> None:
    answers = converse(lab, message, {"clock": 1})
    assert "error" in answers[1] or "clock" in answers[1]
    assert answers[2]["clock"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"report": "1"}, {"report": 1, "arrivals": []}, {"report": 1, "arrivals": {"sse": 3}},
        {"report": 1, "arrivals": {"sse": [["1", 2.0, 3]]}}, {"report": 1, "arrivals": {"sse": [[1, 1e300, 3]]}},
        {"report": 1, "gaps": {"sse": [[1]]}}, {"report": 1, "cursors": {"sse": 5}}, {"report": 1, "presence": 4},
    ],
)  # fmt: skip
def test_a_report_that_does_not_parse_is_named_and_leaves_nothing(lab: labkit.Lab, broken: dict[str, Any]) -> None:
    hello = {"attach": {"subscriber": "s", "page": "p", "streams": ["sse"]}}
    answers = converse(lab, hello, {"clock": 1.0}, {"clock": 3.0, "last": [1.0, 2.0]}, broken)
    assert "expected" in answers[-1]["error"] or "must" in answers[-1]["error"]
    assert lab.pages_of("s")[0]["streams"][0]["count"] == 0


def test_arrivals_before_a_round_trip_are_not_taken(lab: labkit.Lab) -> None:
    hello = {"attach": {"subscriber": "s", "page": "p", "streams": ["sse"]}}
    answers = converse(lab, hello, {"report": 1, "arrivals": {"sse": [[1, 1.0, 1]]}})
    assert "round trip" in answers[-1]["error"]


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_reports_come_to_the_kernel_wherever_the_server_is(process: bool) -> None:
    hello = {"attach": {"subscriber": "s", "page": "p", "streams": ["sse"]}}
    arrived = {"report": 1, "arrivals": {"sse": [[1, 2.0, 5]]}, "states": {"sse": ["subscribed", ""]}}
    with labkit.Lab("pages", process=process) as lab:
        lab.publish("hello")
        answers = converse(lab, hello, {"clock": 1.0}, {"clock": 3.0, "last": [1.0, 2.0]}, arrived)
        assert answers[1]["attached"]["cursors"]["sse"] == lab.cursor()
        assert answers[-1] == {"kept": 1}
        (page,) = lab.pages_of("s")
        assert (page["streams"][0]["count"], page["streams"][0]["state"]) == (1, "subscribed")
        lab.forget_pages("s", "")
        assert lab.pages_of("s") == []


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_good_for_its_origins_and_for_their_hosts_only() -> None:
    tokens = Tokens()
    tokens.allow("secret", JUPYTER)
    assert tokens.admits("secret", JUPYTER, "127.0.0.1:1") == (True, False)
    assert tokens.admits("secret", None, "hub.example.org") == (True, True)
    assert tokens.admits("secret", None, "evil.example.org") == (True, False)
    assert tokens.admits("secret", "https://evil.example.org", "127.0.0.1") == (False, False)
    for wrong in ("", "secre", "secret2", "gehéim"):
        assert tokens.admits(wrong, JUPYTER, "hub.example.org") == (False, False)
    tokens.forget("secret")
    assert tokens.admits("secret", JUPYTER, "hub.example.org") == (False, False)


def test_a_token_without_an_origin_is_good_for_the_first_that_brings_it() -> None:
    tokens = Tokens()
    tokens.allow("secret")
    assert tokens.admits("secret", None, "hub.example.org") == (True, False)
    assert tokens.admits("secret", "null", "hub.example.org") == (False, False)
    assert tokens.admits("secret", JUPYTER, "hub.example.org") == (True, True)
    assert tokens.admits("secret", "https://evil.example.org", "hub.example.org") == (False, False)


def test_tokens_are_bounded() -> None:
    tokens = Tokens()
    for number in range(MAX_TOKENS + 1):
        tokens.allow(f"t{number}", JUPYTER)
    assert tokens.admits("t0", JUPYTER, "") == (False, False)
    assert tokens.admits(f"t{MAX_TOKENS}", JUPYTER, "")[0]


def status(lab: labkit.Lab, token: str = "", **headers: str) -> tuple[int, str | None]:
    async def ask() -> tuple[int, str | None]:
        url = f"http://127.0.0.1:{lab.port}/polling" + (f"?token={token}" if token else "")
        answer = await AsyncHTTPClient(force_instance=True).fetch(url, headers=headers, raise_error=False)
        return answer.code, answer.headers.get("Access-Control-Allow-Origin")

    return loop.run(ask())


def test_a_page_of_another_origin_passes_only_with_its_token(lab: labkit.Lab) -> None:
    lab.allow_origin(JUPYTER, "secret")
    proxied = {"Host": "hub.example.org", "Origin": JUPYTER}
    assert status(lab, "secret", **proxied) == (200, JUPYTER)
    assert status(lab, "secret", Host="hub.example.org") == (200, None)  # a page's own GET has no Origin
    assert status(lab, "secret", Origin=JUPYTER) == (200, JUPYTER)
    assert status(lab, "", **proxied) == (403, None)
    assert status(lab, "Secret", **proxied) == (403, None)
    assert status(lab, "secret", Host="hub.example.org", Origin="https://evil.example.org") == (403, None)
    assert status(lab, "secret", Host="evil.example.org", Origin="http://evil.example.org") == (403, None)
    assert status(lab, "", Origin="http://localhost:8888") == (200, "http://localhost:8888")  # loopback needs none


def test_a_websocket_may_bring_its_token_as_a_subprotocol(lab: labkit.Lab) -> None:
    lab.allow_origin(JUPYTER, "secret")
    offered = {"Host": "hub.example.org", "Origin": JUPYTER, "Sec-WebSocket-Protocol": "labkit, secret"}
    assert converse(lab, **offered) == [{"lab": lab.id}]
    with pytest.raises(Exception, match="403"):
        converse(lab, **{**offered, "Sec-WebSocket-Protocol": "labkit, wrong"})


def test_a_token_is_not_logged_even_when_a_handler_fails(
    lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("labkit.server.handler.PushHandler.page", lambda *_: 1 / 0)
    with caplog.at_level(logging.DEBUG):
        assert status(lab, "secret-word")[0] == 500
    assert "ZeroDivisionError" in caplog.text
    assert "secret-word" not in caplog.text
    caplog.clear()


# -- a subscriber without a page ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("headless")
def test_without_a_front_end_it_is_said_at_once_and_the_measurement_goes_on(
    lab: labkit.Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber = labkit.BrowserSubscriber(lab, ["sse", "websocket"])
    waits: list[float] = []
    with monkeypatch.context() as patched:
        patched.setattr("labkit.webpage.browser.time.sleep", waits.append)
        assert subscriber.wait(0.2 * UNIT) is False
    assert waits == []
    assert "no page attached: this kernel has no front end" in capsys.readouterr().out
    run = labkit.measure(lab, ["websocket"], labkit.periodic(rate_per_s=50, duration_s=0.2), progress=False)
    assert len(run.deliveries) == 10
    assert "Browser: no page attached (sse, websocket)." in run.notes
    assert capsys.readouterr().out == ""
    assert subscriber._repr_mimebundle_()[0].keys() == {"text/plain"}
    subscriber.close()
    assert lab.attached == []


def test_with_a_front_end_a_measurement_waits_once_for_a_page(
    lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    subscriber = labkit.BrowserSubscriber(lab, "sse")
    looks: list[float] = []
    monkeypatch.setattr("labkit.webpage.browser.time.sleep", looks.append)
    assert subscriber.wait(0.2 * UNIT) is False
    assert "open this notebook in a page" in capsys.readouterr().out
    assert looks
    looks.clear()
    assert subscriber.wait(100 * UNIT) is False
    assert looks == []
    subscriber.close()


@pytest.mark.usefixtures("headless")
def test_an_unknown_technique_names_those_that_a_page_can_do(lab: labkit.Lab) -> None:
    for names in ("carrier-pigeon", ["sse", "plugin-socket"], []):
        with pytest.raises(UnknownTechnique, match="polling, long-polling, http-streaming, sse, websocket"):
            labkit.BrowserSubscriber(lab, names)
    with labkit.Lab("few", techniques=["sse"]) as few, pytest.raises(UnknownTechnique, match=r"it can do: sse$"):
        labkit.BrowserSubscriber(few, "websocket")
    for wrong in ({"via": "pigeon"}, {"accept": "text/html"}, {"while_hidden": "hide"}, {"poll_interval_s": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            labkit.BrowserSubscriber(lab, "sse", **wrong)
    assert lab.attached == []


@pytest.mark.usefixtures("headless")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("topic", value) for value in (None, 3, "\ud800", "x" * 300)),
        *(("poll_interval_s", value) for value in (None, "1", math.nan, math.inf, True, 1e6)),
        ("through", "link"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    lab: labkit.Lab, capsys: pytest.CaptureFixture[str], name: str, value: Any
) -> None:
    kept = labkit.BrowserSubscriber(lab, "sse")
    with pytest.raises((LabkitError, ValueError, TypeError), match=f"^{name}"):
        labkit.BrowserSubscriber(lab, "sse", **{name: value})
    gc.collect()
    assert lab.attached == [kept] and capsys.readouterr().err == ""  # nor is anything said when it is collected


@pytest.mark.usefixtures("headless")
def test_the_version_of_a_page_is_the_port_s_where_it_speaks_one(headless: None) -> None:
    said = {}
    for http, tls in (((1,), True), ((2,), True), ((1, 2), True), ((1, 2), False)):
        with labkit.Lab("pages", http=http, tls=tls) as lab:
            said[http, tls] = labkit.BrowserSubscriber(lab, "sse").version
    assert list(said.values()) == ["1.1", "2", "", "1.1"]
    with labkit.Lab("pages", http=(2,)) as lab, pytest.raises(LabkitError, match="no browser speaks HTTP/2 in clear"):
        labkit.BrowserSubscriber(lab, "sse")


def test_what_stands_in_the_way_of_tls_is_said(headless: None) -> None:
    with labkit.Lab("pages", tls=True) as lab:
        with (
            labkit.Intermediary(lab) as gateway,
            pytest.raises(LabkitError, match="reads HTTP, and this lab speaks TLS"),
        ):
            labkit.BrowserSubscriber(lab, "sse", through=gateway)
        with pytest.raises(LabkitError, match="jupyter-server-proxy speaks no TLS to a lab"):
            labkit.BrowserSubscriber(lab, "sse", via="proxy")
        with labkit.Link(lab) as link:
            subscriber = labkit.BrowserSubscriber(lab, "sse", through=link)
            assert subscriber.scheme == "https"
            subscriber.close()


def test_a_closed_lab_and_a_replaced_subscriber_are_said(lab: labkit.Lab) -> None:
    first = labkit.BrowserSubscriber(lab, "sse")
    second = labkit.BrowserSubscriber(lab, "sse")
    other = labkit.BrowserSubscriber(lab, "sse", "news")
    assert "replaced" in first.status()
    assert lab.attached == [second, other]
    lab.close()
    assert "the lab is closed" in second.status() and not second.wait()
    with pytest.raises(LabClosed):
        labkit.BrowserSubscriber(lab, "sse")


@pytest.mark.usefixtures("headless")
def test_what_had_arrived_is_there_while_the_lab_s_process_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr("labkit.lab.process.STOP_TIMEOUT_S", 0.1)
    with labkit.Lab("still", process=True) as lab:
        subscriber = labkit.BrowserSubscriber(lab, "sse")
        hello = {"attach": {"subscriber": subscriber.key, "page": "p", "streams": ["sse"]}}
        converse(lab, hello, {"clock": 1.0}, {"clock": 3.0, "last": [1.0, 2.0]}, {"report": 1, "arrivals": ARRIVED})
        subscriber.keep()
        monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 0.1)
        psutil.Process(lab.pid).suspend()
        until(lambda: psutil.Process(lab.pid).status() == psutil.STATUS_STOPPED)
        assert subscriber.count() == 1 and not subscriber.closed
        assert subscriber.deliveries["event_id"].tolist() == [1]
        subscriber.end()
        assert lab.attached == []


@pytest.mark.usefixtures("headless")
def test_what_had_arrived_outlives_a_lab_whose_process_was_killed() -> None:
    import psutil

    lab = labkit.Lab("killed", process=True)
    subscriber = labkit.BrowserSubscriber(lab, "sse")
    hello = {"attach": {"subscriber": subscriber.key, "page": "p", "streams": ["sse"]}}
    converse(lab, hello, {"clock": 1.0}, {"clock": 3.0, "last": [1.0, 2.0]}, {"report": 1, "arrivals": ARRIVED})
    subscriber.keep()
    assert lab.pid is not None
    psutil.Process(lab.pid).kill()
    assert subscriber.count() == 1
    assert subscriber.deliveries["event_id"].tolist() == [1]
    assert subscriber.status() == "BrowserSubscriber(sse): the lab is closed; 1 event had arrived"
    lab.close()


@pytest.mark.usefixtures("headless")
def test_the_page_s_module_is_one_text_that_loads_nothing_from_elsewhere(lab: labkit.Lab) -> None:
    subscriber = labkit.BrowserSubscriber(lab, NAMES)
    module = subscriber.get_state("_esm")["_esm"]
    assert re.findall(r"^(?:import|export)\b.*", module, re.MULTILINE) == ["export default {"]
    assert "import(" not in module
    assert "innerHTML" not in module
    for name in NAMES:
        assert module.count(f'\n"{name}": (() => {{\n') == 1
    subscriber.close()


def own(half: str) -> Technique:
    """A learner's technique with the wire of SSE and this half for a page; the client stands in a file without one."""

    async def connect(*given: Any, **options: Any) -> AsyncGenerator[Delivery | Gap, None]:
        async for item in SSE.connect(*given, **options):
            yield item

    return Technique("mine", "My own", "nobody's", "/my/own", SSE.handler, connect, page=half)


RECEIVE = "export async function receive(reader) {}\n"


@pytest.mark.usefixtures("headless")
def test_a_technique_s_own_half_is_joined_in_a_scope_of_its_own() -> None:
    half = 'import {\n  Lost,\n} from "./base.js";\nexport const held = false;\nconst size = 1;\n' + RECEIVE
    with labkit.Lab("own", techniques=[own(half)]) as lab:
        module = labkit.BrowserSubscriber(lab, "mine").get_state("_esm")["_esm"]
    begin, end = module.index('"mine": (() => {'), module.index('return { route: "my/own", held, receive };\n})(),')
    assert "const held = false;\nconst size = 1;\nasync function receive" in module[begin:end]
    assert '"sse"' not in module, "what is not asked for does not travel"


@pytest.mark.usefixtures("headless")
@pytest.mark.parametrize(
    ("half", "why"),
    [
        ("", r"a page cannot do 'mine' here: it has no half in JavaScript; it can do: nothing$"),
        ("export const held = false;", "exports no function `receive`"),
        ('import x from "./x.js";\n' + RECEIVE, r"import x from .* cannot be joined"),
        (RECEIVE + "export { receive as other };", r"export \{ receive as other \};' cannot be joined"),
    ],
)
def test_what_a_page_cannot_do_is_said_in_a_sentence(half: str, why: str) -> None:
    with labkit.Lab("none", techniques=[own(half)]) as lab:
        with pytest.raises(LabkitError, match=why):
            labkit.BrowserSubscriber(lab, "mine")
        assert lab.attached == []
