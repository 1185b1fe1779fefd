"""05_websocket: the experiments at small size over real sockets, and checks that tell wrong worlds from right ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from statistics import median
from typing import Any

import h11
import pytest
from tornado.iostream import IOStream
from tornado.websocket import WebSocketProtocol13

import labkit
from conftest import UNIT
from labkit.course import claims, websocket
from labkit.course.websocket import closings, peers, upgrade
from labkit.course.websocket.beside_tcp import Beside
from labkit.course.websocket.claims import CLAIMS
from labkit.course.websocket.compression import Deflated
from labkit.course.websocket.crossing import BothWays
from labkit.course.websocket.frame_headers import Header, Headers
from labkit.course.websocket.silent_links import DeadPeer, DeadPeers
from labkit.course.websocket.trials import SIGNS, Cell, Conformance
from labkit.course.websocket.upgrade import Handshake
from labkit.errors import LabClosed, LabkitError
from labkit.server import http1
from labkit.server.websocket import CorrectedProtocol
from labkit.wire.handshake import accept_key

D = 0.05


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("websocket-course-test") as lab:
        yield lab


def verdict(id: str, seen: Any) -> str:
    return claims.judge(id, seen).verdict


def reason(id: str, seen: Any) -> str:
    return claims.judge(id, seen).whole


def test_every_claim_has_its_experiment_and_its_check() -> None:
    assert [claim.id for claim in CLAIMS] == ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W9", "W10", "W11"]
    assert all(claim.experiment and claim.judge for claim in CLAIMS)


# W1


@pytest.fixture(scope="module")
def shaken(lab: labkit.Lab) -> Handshake:
    return websocket.handshake(lab)


def test_the_handshake_is_http_and_what_follows_is_not(shaken: Handshake) -> None:
    assert shaken.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert verdict("W1", shaken) == "refined" and "begins as HTTP" in reason("W1", shaken)
    assert "101 Switching Protocols" in shaken._repr_html_()


def test_a_server_that_goes_on_in_http_is_refuted(shaken: Handshake) -> None:
    said = upgrade._parsed(h11.CLIENT, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    parsed = {**shaken.parsed, "then, from the server": said}
    assert verdict("W1", dataclasses.replace(shaken, parsed=parsed)) == "refuted"


def test_a_wrong_accept_is_refuted_and_a_parser_that_waits_decides_nothing(shaken: Handshake) -> None:
    assert verdict("W1", dataclasses.replace(shaken, accept=accept_key("another"))) == "refuted"
    parsed = {**shaken.parsed, "then, from the client": upgrade._parsed(h11.SERVER, b"GET / HTTP/1.1\r\n")}
    assert verdict("W1", dataclasses.replace(shaken, parsed=parsed)) == "undecided"


# W2


def crossed(up_s: float = D, down_s: float = D, n: int = 60, lost: int = 0, late_s: float = 0.001) -> BothWays:
    times = [0.03 * i for i in range(n)]
    wobble = [0.0005 * (i % 5) for i in range(n)]
    up = [(at, up_s + w) for at, w in zip(times, wobble, strict=True)]
    down = [(at + 0.01, down_s + w) for at, w in zip(times, wobble, strict=True)]
    return BothWays(D, up, down, lost, late_s)


def test_both_ways_are_one_transit() -> None:
    assert verdict("W2", crossed()) == "confirmed"


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (crossed(up_s=3 * D), "refuted"),  # a socket that has to be asked before it may speak
        (crossed(down_s=D + 0.025), "refuted"),  # a server that adds T/2
        (crossed(lost=1), "refuted"),
        (dataclasses.replace(crossed(), twice=1), "refuted"),
        (crossed(late_s=D), "undecided"),
        (crossed(n=5), "undecided"),
        (crossed(up_s=D * 1.1), "undecided"),
    ],
)
def test_another_world_is_not_confirmed(world: BothWays, expected: str) -> None:
    assert verdict("W2", world) == expected


def held_back(wait_s: float, shadow_s: float, every_s: float = 0.1) -> BothWays:
    """Both sides send; what goes down within *shadow_s* after one that came up has to wait."""
    up = [(every_s * i, D + 0.001) for i in range(40)]
    down = []
    for i in range(66):
        at = 0.06 * (i + 1)
        after = min((at - came - took for came, took in up if came + took <= at), default=9.0)
        down.append((at, D + 0.001 + (wait_s if after < shadow_s else 0.0)))
    return BothWays(D, up, down, 0, 0.001)


def test_messages_that_wait_for_an_acknowledgement_refute_it_although_the_median_is_right() -> None:
    world = held_back(0.031, 0.02)
    late = sum(took > 1.2 * D for _, took in world.down)
    assert late == 14 and median(took for _, took in world.down) < 1.1 * D
    assert verdict("W2", world) == "refuted"
    assert f"{late} of 66 down later" in reason("W2", world) and f"{late} of them within" in reason("W2", world)
    assert verdict("W2", held_back(0.0, 0.02)) == "confirmed"


def test_messages_that_are_late_whatever_came_before_decide_nothing() -> None:
    world = held_back(0.0, 0.0)
    slow = [(at, took + 0.031 * (i % 7 == 0)) for i, (at, took) in enumerate(world.down)]
    assert verdict("W2", dataclasses.replace(world, down=slow)) == "undecided"
    one = [(at, took + 0.031 * (i == 7)) for i, (at, took) in enumerate(world.down)]
    assert verdict("W2", dataclasses.replace(world, down=one)) == "confirmed"


def test_a_server_with_nagles_algorithm_on_is_seen(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1.LabStream, "set_nodelay", IOStream.set_nodelay)
    seen = websocket.both_ways(lab, duration_s=3.0)
    assert verdict("W2", seen) in ("refuted", "undecided")
    waited = [took for _, took in seen.down if took > 1.2 * D]
    assert len(waited) > sum(took > 1.2 * D for _, took in seen.up)


def test_traffic_crosses_on_one_socket(lab: labkit.Lab) -> None:
    seen = websocket.both_ways(lab, rate_per_s=25, duration_s=1.2)
    assert not seen.lost and seen.crossed and min(latency for _, latency in (*seen.up, *seen.down)) >= 0.98 * D
    assert verdict("W2", seen) in ("confirmed", "undecided")
    assert "Up and down at once: medians" in seen.chart().layout.title.text


# W3, W11


@pytest.fixture(scope="module")
def counted(lab: labkit.Lab) -> Headers:
    return websocket.headers(lab)


def test_headers_on_the_wire_are_those_of_the_clause(counted: Headers) -> None:
    assert verdict("W3", counted) == "confirmed"
    found = claims.judge("W11", counted)
    assert (found.verdict, found.measured, found.expected) == ("refuted", 14, 12)


def changed(counted: Headers, sender: str, payload_bytes: int, by: int) -> Headers:
    frames = [
        Header(f.sender, f.payload_bytes, f.frame_bytes + by)
        if (f.sender, f.payload_bytes) == (sender, payload_bytes)
        else f
        for f in counted.frames
    ]
    return Headers(frames)


def test_a_mask_left_out_refutes_and_twelve_bytes_would_confirm_crossbar(counted: Headers) -> None:
    assert verdict("W3", changed(counted, "client", 125, -4)) == "refuted"
    assert verdict("W3", changed(counted, "server", 65536, -2)) == "refuted"
    assert verdict("W11", changed(counted, "client", 65536, -2)) == "confirmed"
    assert verdict("W11", Headers([f for f in counted.frames if f.payload_bytes < 65536])) == "not run"
    assert verdict("W3", Headers([f for f in counted.frames if f.sender == "client"])) == "not run"


def test_the_slider_has_a_step_for_each_payload(counted: Headers) -> None:
    figure = counted.chart()
    steps = figure.layout.sliders[0].steps
    assert all(sum(step.args[0]["visible"]) == 5 for step in steps)


def test_the_slider_s_steps_stand_under_their_payloads_on_the_axis(counted: Headers) -> None:
    figure = counted.chart()
    slider, (low, high) = figure.layout.sliders[0], figure.layout.xaxis.range
    for number, step in enumerate(slider.steps):
        place = slider.x + slider.len * number / (len(slider.steps) - 1)
        assert place == pytest.approx((math.log10(float(step.label)) - low) / (high - low), abs=0.006)
    assert slider.pad.l == slider.pad.r == -10  # plotly's own inset of the first and the last step
    shown = figure.data[next(i for i, on in enumerate(slider.steps[slider.active].args[0]["visible"]) if on and i > 3)]
    assert shown.visible and shown.x[0] == float(slider.steps[slider.active].label)


# W4 to W6


@pytest.fixture(scope="module")
def tried(lab: labkit.Lab) -> Conformance:
    return websocket.conformance(lab)


def test_this_kits_server_keeps_every_rule(tried: Conformance) -> None:
    mine = [c for c in tried.cells if (c.implementation, c.role) == ("labkit", "server")]
    assert mine and {c.outcome for c in mine} == {"as it must"}
    assert [verdict(id, tried) for id in ("W4", "W5", "W6")] == ["refined", "confirmed", "refined"]
    assert "stock Tornado" in reason("W4", tried)
    assert "text &#x27;hello&#x27;" in tried.show("W4")._repr_html_()


def test_the_counts_have_the_signs_of_the_cases(tried: Conformance) -> None:
    assert all(f"<th>{sign} {outcome}</th>" in tried._repr_html_() for outcome, sign in SIGNS.items())


def test_cases_that_all_say_the_same_are_folded_below_those_that_do_not(tried: Conformance) -> None:
    shown, every = tried.show("W6")._repr_html_(), tried.show("W6").table()
    odd, fold, alike = shown.partition("<details>")
    same = every.map(lambda did: did.startswith("✓")).all(axis=1)
    assert fold and f"and {same.sum()} more cases" in alike and same.sum() >= 8
    assert odd.count("<tr>") == 1 + (~same).sum() and alike.count("<tr>") == 1 + same.sum()


def test_who_does_otherwise_is_told_and_only_what_holds_is_folded(tried: Conformance) -> None:
    found = claims.judge("W6", tried)
    lead, *others = found.reason.split("\n")
    mine = [c for c in tried.of("W6") if c.implementation == "labkit"]
    assert found.verdict == "refined" and lead == f"labkit as it must in {len(mine)} cases, others not always:"
    assert others and all(", otherwise in " in line for line in others)
    assert found.holds and not any("otherwise" in line for line in found.holds)


def test_each_implementation_is_tried_with_its_version(tried: Conformance) -> None:
    names = {c.implementation for c in tried.cells}
    assert {"labkit", peers.named("tornado", "stock Tornado"), peers.named("websockets")} <= names


def test_with_tornados_own_protocol_this_kit_would_be_refuted(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_receive_frame", "_handle_message"):  # reads, and closes, as stock Tornado does
        monkeypatch.setattr(CorrectedProtocol, name, getattr(WebSocketProtocol13, name))
    for name in ("_websockets_server", "_wsproto_server", "_aiohttp_server"):
        monkeypatch.setattr(peers, name, peers.stock_tornado)
    monkeypatch.setattr(peers, "clients", dict)
    found = websocket.conformance(lab)
    assert verdict("W4", found) == verdict("W6", found) == "refuted"
    assert "labkit's server: a client's frame, not masked: text 'hello'" in reason("W4", found)


def other(tried: Conformance, claim: str, case: str, **changes: Any) -> Conformance:
    cells = [
        dataclasses.replace(c, **changes)
        if (c.implementation, c.claim, c.case, c.role) == ("labkit", claim, case, "server")
        else c
        for c in tried.cells
    ]
    return dataclasses.replace(tried, cells=cells)


def test_a_ping_that_waits_for_the_end_of_the_message_refutes(tried: Conformance) -> None:
    late = {"found": "text 'Hello', pong 'there?'", "outcome": "wrong"}
    assert verdict("W5", other(tried, "W5", "a ping between the fragments", **late)) == "refuted"


def test_a_code_that_only_exists_on_one_side_sent_back_refutes(tried: Conformance) -> None:
    assert verdict("W6", other(tried, "W6", "close 1005", found="closes 1005", outcome="wrong")) == "refuted"


def test_an_endpoint_that_does_not_answer_in_time_decides_nothing(tried: Conformance) -> None:
    assert verdict("W6", other(tried, "W6", "close 1005", found="hangs", outcome="no answer")) == "undecided"


@pytest.mark.parametrize(
    ("who", "counts"),
    [("client: labkit", (40, 39, 39)), ("client: labkit", (40, 40, 1)), ("server: labkit", (40, 1, 1))],
)
def test_a_mask_left_out_a_key_used_twice_or_a_server_that_masks_refutes(
    tried: Conformance, who: str, counts: tuple[int, int, int]
) -> None:
    assert verdict("W4", dataclasses.replace(tried, masks={**tried.masks, who: counts})) == "refuted"


def test_a_table_without_this_kit_decides_nothing() -> None:
    cell = Cell("another 1.0", "server", "W5", "5.4", "a", "fails 1002", "fails 1002", "as it must")
    assert verdict("W5", Conformance([cell])) == "not run"


def test_every_close_code_is_caught_or_is_none() -> None:
    frames = {c.code: c.frame for c in websocket.close_codes().rows}
    assert set(frames) == set(closings.MEANINGS)
    for code, frame in frames.items():
        if code in (1006, 1015):
            assert frame == b""
        elif code == 1005:
            assert frame == b"\x88\x00"
        else:
            assert frame[0] == 0x88 and int.from_bytes(frame[2:4], "big") == code


# W7


def dead(
    *noticed_s: float | None, late_s: tuple[float, float] = (0.001, 0.002), pingless: float | None = None
) -> DeadPeers:
    peers = [DeadPeer("labkit", 0.9, at) for at in noticed_s]
    peers.append(DeadPeer("labkit, without pings", float("inf"), pingless))
    return DeadPeers(peers, 0.5, 0.5, D, 3.0, late_s)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (dead(0.5, 0.7, 0.99), "confirmed"),
        (dead(0.5, 0.7, 6.0), "refuted"),  # stock Tornado: 5 s more
        (dead(0.5, 0.7, None), "refuted"),
        (dead(0.1, 0.7, 0.9), "refuted"),  # before a time-out was over
        (dead(0.5, 1.15, late_s=(0.001, 0.2)), "undecided"),  # the machine stood still
        (dead(0.5, 0.9, pingless=0.8), "undecided"),  # then it was not the ping
    ],
)
def test_a_dead_peer_is_noticed_in_time(world: DeadPeers, expected: str) -> None:
    assert verdict("W7", world) == expected


@pytest.mark.timing
def test_silent_links_are_noticed_by_pings_alone() -> None:
    seen = websocket.dead_peers(peers=3, heartbeat_s=0.3 * UNIT, stock=False)
    assert len(seen.of("labkit")) == 3 and all(p.noticed_s is not None for p in seen.of("labkit"))
    assert verdict("W7", seen) in ("confirmed", "undecided")
    assert "the last of 3 dead peers is noticed after" in seen.chart().layout.title.text


def test_dead_peers_needs_peers_and_pings() -> None:
    with pytest.raises(ValueError, match="at least one peer"):
        websocket.dead_peers(peers=0)
    with pytest.raises(ValueError, match="above 0"):
        websocket.dead_peers(heartbeat_s=0)


# W9


def squeezed(
    ticks: float = 14.0, cpu_us: tuple[float, ...] = (90.0, 92.0, 91.0), kept_bytes: float = 160 << 10
) -> Deflated:
    plain, kept, alone = "plain", "kept", "alone"
    wire = {
        "ticks": {plain: 50.0, kept: ticks, alone: 51.0},
        "noise": {plain: 98.0, kept: 104.0, alone: 104.0},
    }
    cpu = {plain: (65.0, 66.0, 64.0), kept: cpu_us, alone: (80.0, 81.0, 79.0)}
    return Deflated({"ticks": 48.0, "noise": 96.0}, wire, cpu, {plain: 11e3, kept: kept_bytes, alone: 24e3}, 30)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (squeezed(), "refined"),
        (squeezed(ticks=50.0), "refuted"),  # nothing gets smaller
        (squeezed(cpu_us=(40.0, 41.0, 39.0)), "refuted"),  # it would save CPU
        (squeezed(cpu_us=(60.0, 90.0, 64.0)), "undecided"),
        (squeezed(kept_bytes=12e3), "refuted"),  # no memory is kept
    ],
)
def test_compression_saves_what_repeats_and_costs(world: Deflated, expected: str) -> None:
    assert verdict("W9", world) == expected


def test_the_context_saves_small_messages_and_takes_memory() -> None:
    seen = websocket.deflate(count=80, rounds=2, connections=8)
    ticks, noise = seen.wire_bytes["ticks"], seen.wire_bytes["noise"]
    plain, kept, alone = seen.cpu_us
    assert ticks[kept] < 0.5 * ticks[plain] < ticks[alone] and noise[kept] > noise[plain]
    assert seen.rss_bytes[kept] > 3 * seen.rss_bytes[alone]
    assert verdict("W9", seen) in ("refined", "undecided")
    assert seen.chart().layout.title.text.startswith("Deflate leaves")


# W10


def echoed(ratio: float = 2.0, websocket_bytes: int = 10, wobble: float = 0.0, trips: int = 60) -> Beside:
    """Next to nothing across a network, *ratio* times as long with none between."""
    bare = [((ratio + wobble * (i % 2)) * 1e-4, 1e-4) for i in range(trips)]
    return Beside(D, {1: (websocket_bytes, 2)}, {1: [(0.1001, 0.1)] * 16}, bare)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (echoed(), "refined"),
        (echoed(websocket_bytes=12), "refuted"),
        (echoed(ratio=5.0), "refuted"),
        (echoed(ratio=5.5, wobble=-3.0), "undecided"),
        (echoed(trips=20), "undecided"),
    ],
)
def test_a_websocket_stays_below_the_published_bounds(world: Beside, expected: str) -> None:
    assert verdict("W10", world) == expected


def test_echo_beside_bare_tcp(lab: labkit.Lab) -> None:
    seen = websocket.against_tcp(lab, sizes=(1, 128), trips=8, bare_trips=10, one_way_s=0.02)
    assert seen.bytes == {1: (10, 2), 128: (128 + 8 + 128 + 4, 256)}
    assert verdict("W10", seen) in ("refined", "undecided")
    assert "5.00 times at 1 B" in seen.chart().layout.title.text
    with pytest.raises(ValueError, match="start at 1"):
        websocket.against_tcp(lab, sizes=(0,))


# The exercises


@pytest.mark.parametrize(
    ("id", "answer", "right"),
    [
        ("05.1", bytes.fromhex("8183 0ff055aa 769526"), True),
        ("05.1", "81 83 0f f0 55 aa 76 95 26", True),
        ("05.1", "81 03 79 65 73", False),
        ("05.1", "81 83", False),
        ("05.1", "no hex", False),
        ("05.1", 7, False),
        ("05.2", 12, True),
        ("05.2", 8, False),
        ("05.3", 40, True),
        ("05.3", 20, False),
        ("05.3", None, None),
    ],
)
def test_exercises_report(id: str, answer: object, right: bool | None) -> None:
    assert labkit.answer(id, answer).right is right


def test_a_closed_lab_is_named() -> None:
    with labkit.Lab("closed-websocket") as closed:
        pass
    for experiment in (websocket.handshake, websocket.headers, websocket.both_ways, websocket.against_tcp):
        with pytest.raises((LabClosed, LabkitError)):
            experiment(closed)
