"""The checks of 05_websocket: W1 to W7, W9 to W11."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import EARLY, TOLERANCE, Part, ends, finding, refined, said
from labkit.claims.values import shown
from labkit.course.websocket.beside_tcp import Beside
from labkit.course.websocket.compression import Deflated
from labkit.course.websocket.crossing import BothWays
from labkit.course.websocket.frame_headers import Header, Headers
from labkit.course.websocket.late import late_part
from labkit.course.websocket.silent_links import DeadPeers
from labkit.course.websocket.trials import Cell, Conformance
from labkit.course.websocket.upgrade import Handshake
from labkit.wire.frames import header_bytes
from labkit.wire.handshake import accept_key

OURS = "labkit"
LEAST_MESSAGES = 8
LEAST_TRIPS = 40
LEAST_KEPT_BYTES = 16 << 10
"""Of memory for one connection, below which nothing was kept: a page or two of the allocator's own."""


def begins_as_http(seen: Handshake) -> Finding:
    """W1: the handshake is HTTP and its accept the one that the key demands; what follows is refused as HTTP."""
    takes = {name: text.startswith("takes") for name, text in seen.parsed.items()}
    rejects = {name: text.startswith("rejects") for name, text in seen.parsed.items()}
    parts = [
        said(
            takes["request"] and takes["answer"] and seen.answer.startswith(b"HTTP/1.1 101 "),
            "the handshake is HTTP",
            "an HTTP parser does not take the handshake",
        ),
        said(seen.accept == accept_key(seen.key), f"{seen.key} is answered by {seen.accept}", f"wrong: {seen.accept}"),
    ]
    for name, text in seen.parsed.items():
        if name.startswith("then"):
            verdict: Verdict = "confirmed" if rejects[name] else "refuted" if takes[name] else "undecided"
            parts.append(Part(verdict, f"{name.removeprefix('then, ')}: the parser {text}"))
    found = finding(parts, len(seen.parsed), unit="")
    return refined(found, "it begins as HTTP, and is none after the 101")


def either_side_at_any_time(seen: BothWays) -> Finding:
    """W2: each way the median is d, told from half a transit more or less, next to none is later, while messages cross,
    and none is lost.

    ``measured``: the median of both.
    """
    n = len(seen.up) + len(seen.down)
    if min(len(seen.up), len(seen.down)) < LEAST_MESSAGES:
        raise NoVerdict("undecided", f"too few messages: {len(seen.up)} up, {len(seen.down)} down", n)
    d = seen.one_way_s
    if seen.late_s > d / 5:
        raise NoVerdict("undecided", f"this machine is too busy: timers are {shown(seen.late_s, 's')} late", n)
    low, high = (1 - EARLY) * d, (1 + TOLERANCE) * d + seen.late_s
    parts = []
    for name, sent, other in (("up", seen.up, seen.down), ("down", seen.down, seen.up)):
        median = confidence.median_interval([latency_s for _, latency_s in sent])
        text = f"{name}: median {shown(median.value, 's')}, {ends(median)} at 99.8 %, theory {shown(d, 's')}"
        text += f" (n = {len(sent)})"
        parts.append(Part(confidence.agrees(median, low, high, d / 2, 1.5 * d), text))
        parts.append(late_part(name, sent, other, high))
    crossed = seen.crossed
    many = crossed >= LEAST_MESSAGES
    parts.append(Part("confirmed" if many else "undecided", f"{crossed} crossed one that came the other way"))
    parts.append(said(not seen.lost and not seen.twice, "none lost", f"{seen.lost} lost, {seen.twice} twice"))
    both = confidence.median_interval([latency_s for _, latency_s in (*seen.up, *seen.down)])
    return finding(parts, n, d, both)


def headers_are_2_4_or_10(seen: Headers) -> Finding:
    """W3: each frame's header is as long as section 5.2 says, for every size and from both sides."""
    if not {f.sender for f in seen.frames} >= {"client", "server"}:
        raise NoVerdict("not run", "frames of both sides are needed", len(seen.frames))
    wrong = [f for f in seen.frames if f.header_bytes != header_bytes(f.payload_bytes, f.sender == "client")]
    lengths = {s: sorted({f.header_bytes for f in seen.frames if f.sender == s}) for s in ("server", "client")}
    odd = "\n".join(f"{_frame(f)}, not {header_bytes(f.payload_bytes, f.sender == 'client')}" for f in wrong)
    text = f"from the server {_listed(lengths['server'])}, from the client {_listed(lengths['client'])} bytes"
    return finding([said(not wrong, text, odd)], len(seen.frames), unit="bytes")


def _frame(frame: Header) -> str:
    return f"{frame.payload_bytes} bytes from the {frame.sender}: a header of {frame.header_bytes}"


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:-1])) + f" or {values[-1]}" if len(values) > 1 else str(values[0])


def twelve_bytes_for_the_largest(seen: Headers) -> Finding:
    """W11: what Crossbar gives for a client's largest frames, against the wire."""
    largest = [f for f in seen.frames if f.sender == "client" and f.payload_bytes > 0xFFFF]
    if not largest:
        raise NoVerdict("not run", "no frame over 65535 bytes was sent")
    found = {f.header_bytes for f in largest}
    measured = max(found)
    text = f"{measured} bytes on the wire: 2, then 8 of length and 4 of masking key"
    text = text if measured == 14 else _frame(largest[0])
    return finding([said(found == {12}, text, text)], len(largest), 12, measured, "bytes")


def masked_one_way(seen: Conformance) -> Finding:
    """W4: every client masks each frame with a key of its own, no server does, and each refuses the other's way."""
    parts = [_ours(seen, "W4")]
    clients = {name: counts for name, counts in seen.masks.items() if name.startswith("client")}
    servers = {name: counts for name, counts in seen.masks.items() if name.startswith("server")}
    for name, (frames, masked, keys) in clients.items():
        if not frames == masked == keys:
            parts.append(Part("refuted", f"{name}: of {frames} frames {masked} masked, with {keys} different keys"))
    for name, (frames, masked, _) in servers.items():
        if masked:
            parts.append(Part("refuted", f"{name}: of {frames} frames {masked} masked"))
    frames = sum(counts[0] for counts in clients.values())
    sent = sum(counts[0] for counts in servers.values())
    parts.append(Part("confirmed", f"{frames} frames from {len(clients)} clients masked, each with a key of its own"))
    parts.append(Part("confirmed", f"{sent} from {len(servers)} servers not"))
    return _conforming(seen, "W4", parts)


def control_frames_between(seen: Conformance) -> Finding:
    """W5: a ping between fragments is answered and the message stays whole; what 5.4 and 5.5 forbid is failed."""
    return _conforming(seen, "W5", [_ours(seen, "W5")])


def which_codes_travel(seen: Conformance) -> Finding:
    """W6: a code that may travel is answered, one that may not fails the connection with 1002."""
    return _conforming(seen, "W6", [_ours(seen, "W6")])


def _ours(seen: Conformance, claim: str) -> Part:
    mine = [cell for cell in seen.of(claim) if cell.implementation == OURS]
    if not mine:
        raise NoVerdict("not run", f"this kit's own endpoints were not tried for {claim}")
    wrong = [cell for cell in mine if cell.outcome == "wrong"]
    silent = [cell for cell in mine if cell.outcome == "no answer"]
    if silent and not wrong:
        return Part("undecided", "\n".join(f"{OURS}'s {cell.role}: {_cell(cell)}" for cell in silent))
    told = "\n".join(f"{OURS}'s {cell.role}: {_cell(cell)}" for cell in wrong)
    return said(not wrong, f"{OURS} as it must in {len(mine)} cases", told)


def _cell(cell: Cell) -> str:
    return f"{cell.case}: {cell.found}; asked for: {cell.wanted}"


def _cases(n: int) -> str:
    return "one case" if n == 1 else f"{n} cases, such as"


def _conforming(seen: Conformance, claim: str, parts: Sequence[Part]) -> Finding:
    """This kit's own decide between confirmed and refuted; others that do otherwise refine."""
    cells = seen.of(claim)
    others: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.implementation != OURS and cell.outcome == "wrong":
            others.setdefault(f"{cell.implementation} ({cell.role})", []).append(cell)
    told = [f"{name}, otherwise in {_cases(len(wrong))}: {_cell(wrong[0])}" for name, wrong in others.items()]
    found, tried = finding(parts, len(cells), unit=""), len({cell.implementation for cell in cells} - {OURS})
    if others and found.verdict == "confirmed":
        holds = (f"{tried} other implementations were tried", *found.holds)
        lead = f"{found.reason}, others not always:"
        return replace(found, verdict="refined", reason="\n".join([lead, *told]), holds=holds)
    if others:
        return replace(found, reason="\n".join([found.reason, *told]))
    quiet = sum(cell.outcome == "ends, no code" for cell in cells)
    but = f", but for {quiet} ends without a code" if quiet else ""
    return replace(found, reason=f"{found.reason}\n{tried} other implementations too{but}") if tried else found


def a_ping_finds_the_dead(seen: DeadPeers) -> Finding:
    """W7: each dead peer is noticed within interval + time-out + 10 %, and no sooner than it can be known.

    ``measured``: the last one.
    """
    ours, limit_s = seen.of(OURS), (1 + TOLERANCE) * (seen.interval_s + seen.timeout_s)
    if not ours:
        raise NoVerdict("not run", "no peer was watched")
    noticed = [peer.noticed_s for peer in ours if peer.noticed_s is not None]
    parts = [
        said(len(noticed) == len(ours), f"{len(ours)} of {len(ours)} noticed", f"{len(noticed)} of {len(ours)} noticed")
    ]
    last_s = max(noticed, default=math.nan)
    slack_s, stall_s = seen.late_s
    if noticed:
        text = f"the last after {shown(last_s, 's')}, limit {shown(limit_s, 's')}"
        over_s = last_s - limit_s - slack_s
        parts.append(Part("confirmed" if over_s <= 0 else "undecided" if over_s <= stall_s else "refuted", text))
        least_s = seen.timeout_s - 2 * seen.one_way_s - TOLERANCE * (seen.interval_s + seen.timeout_s)
        text = f"the first after {shown(min(noticed), 's')}"
        parts.append(said(min(noticed) >= least_s - slack_s, text, text + ", before it could be known"))
    for peer in seen.peers:
        if peer.implementation == OURS:
            continue
        if math.isinf(peer.expected_s):
            held = peer.noticed_s is None
            text = f"without pings {'still held' if held else 'gone'} after {shown(seen.watched_s, 's')}"
            parts.append(Part("confirmed" if held else "undecided", text))
        else:
            took = "not noticed" if peer.noticed_s is None else f"after {shown(peer.noticed_s, 's')}"
            parts.append(Part("confirmed", f"{peer.implementation} {took}"))
    most_s, last = seen.interval_s + seen.timeout_s, last_s if noticed else None
    lead = f"the last of {len(ours)} dead peers was noticed {shown(last, 's')} after it died, with a ping every "
    lead += f"{shown(seen.interval_s, 's')} and {shown(seen.timeout_s, 's')} of patience"
    return finding(parts, len(ours), most_s, last, lead=lead)


def compression_saves_and_costs(seen: Deflated) -> Finding:
    """W9: deflated with the context kept, alike messages take fewer bytes, and the server more CPU and memory.

    ``measured``: the share of the bytes that is left of small messages (the first kind).
    """
    plain, kept, *alone = list(seen.cpu_us)
    kinds = list(seen.payload_bytes)
    left = {kind: seen.wire_bytes[kind][kept] / seen.wire_bytes[kind][plain] for kind in kinds}
    grew = [kind for kind in kinds if left[kind] >= 1]
    told = ", ".join(f"{kind} {left[kind]:.0%}" for kind in kinds)
    parts = [said(len(grew) < len(kinds), f"left of the bytes: {told}", f"no kind of message got smaller: {told}")]
    more_us = [b - a for a, b in zip(seen.cpu_us[plain], seen.cpu_us[kept], strict=True)]
    cost = confidence.mean_interval(more_us)
    text = f"server CPU {seen.cpu(plain):.0f} µs a page plain, {seen.cpu(kept):.0f} µs deflated: {cost.value:+.0f} µs"
    parts.append(Part(_above_zero(cost), f"{text} ({cost.low:.0f} to {cost.high:.0f})"))
    memory = seen.rss_bytes[kept] - seen.rss_bytes[plain]
    text = f"memory {memory / 1024:+.0f} KiB a connection"
    parts.append(said(memory > LEAST_KEPT_BYTES, text, f"{text} is none"))
    for mode in alone:
        kinds_left = ", ".join(
            f"{kind} {seen.wire_bytes[kind][mode] / seen.wire_bytes[kind][plain]:.0%}" for kind in kinds
        )
        own = (seen.rss_bytes[mode] - seen.rss_bytes[plain]) / 1024
        parts.append(Part("confirmed", f"{mode}: {own:+.0f} KiB, left {kinds_left}"))
    found = finding(parts, sum(map(len, seen.cpu_us.values())), None, left[kinds[0]], "")
    but = " and ".join(f"{kind}, which grows to {left[kind]:.0%}" for kind in grew)
    return refined(found, f"but for {but}") if grew else found


def _above_zero(interval: Interval) -> Verdict:
    return "confirmed" if interval.low > 0 else "refuted" if interval.highest < 0 else "undecided"


def within_five_and_three(seen: Beside) -> Finding:
    """W10: bytes at most 5 times those of bare TCP, round trips at most 3 times as long.

    Across a network next to all of a round trip is transit, and no limit but 1 can be reached. The times are judged
    with none between, where they are the two programs' own; told from 5 times, a quarter more than 3 allowed for, since
    it is Python that frames and masks. ``measured``: the most.
    """
    ratios = {size: seen.ratio_of_bytes(size) for size in seen.bytes}
    most, n = max(ratios.values()), len(seen.bare_s)
    if n < LEAST_TRIPS:
        raise NoVerdict("undecided", f"{n} round trips with no network between are too few: at least {LEAST_TRIPS}", n)
    bare = confidence.median_interval([w / t for w, t in seen.bare_s])
    across = max(confidence.median_interval([w / t for w, t in pairs]).value for pairs in seen.trips_s.values())
    told = "bytes, times: " + ", ".join(f"{ratio:.2f} at {size} B" for size, ratio in ratios.items())
    trips = f"with no network between, round trips {bare.value:.2f} times as long ({bare.low:.2f} to {bare.high:.2f})"
    parts = [said(most <= 5, told, told), Part(confidence.agrees(bare, 0.0, 1.25 * 3, 0.0, 5.0), trips)]
    measured = {"bytes": most, "time": bare.value}
    found = finding(parts, n, {"bytes": 5, "time": 3}, measured, "")
    condition = f"across a network of {shown(seen.one_way_s, 's')} round trips are {across:.2f} times as long at most"
    return refined(found, condition)
