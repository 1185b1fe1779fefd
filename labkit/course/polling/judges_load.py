"""The checks of 01_polling about load and single exchanges: P3 (light on the server), P4 (304), P5 (tables)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part
from labkit.claims.values import shown
from labkit.course.polling.burden import CLOSED, KEPT, SOCKET, Burden
from labkit.course.polling.per_message import KAAZING, PUBLISHED, Overheads
from labkit.course.polling.revalidation import Revalidated

SHORTEST_S = 0.1
"""Nobody polls more often than that."""


def light_on_the_server(seen: Burden) -> Finding:
    """P3: a client that closes its connection holds no memory and no descriptor; and from which interval down its
    polls cost more CPU than the heartbeats of a held, silent WebSocket.

    The memory of one that closes is told from half of what a WebSocket holds. ``measured``: that interval. Below it
    the claim is false, so it is refined unless nobody polls that often.
    """
    if seen.why:
        raise NoVerdict("not run", seen.why)
    rounds = len(seen.cpu_us.get(CLOSED, ()))
    if rounds < 3:
        raise NoVerdict("undecided", f"{rounds} rounds are too few", rounds)
    memory = {kind: confidence.mean_interval(values) for kind, values in seen.memory_kib.items()}
    balance, kept = (confidence.mean_interval(seen.balance_s(kind)) for kind in (CLOSED, KEPT))
    held = f"closed each time a client holds {shown(memory[CLOSED].value, 'KiB')} and no descriptor, a WebSocket "
    light = [
        _nothing(memory[CLOSED], memory[SOCKET].value, held + shown(memory[SOCKET].value, "KiB")),
        _holds(CLOSED, seen.descriptors[CLOSED], 0.0),
        _holds(KEPT, seen.descriptors[KEPT], 1.0),
        _holds(SOCKET, seen.descriptors[SOCKET], 1.0),
    ]
    verdict = confidence.combine(part.verdict for part in light)
    if verdict == "confirmed":
        verdict = "refined" if balance.low > SHORTEST_S else confidence.within(balance, 0.0, SHORTEST_S)
    guilty = [part.text for part in light if part.verdict == verdict]
    left = f"each poll of it leaves a socket in TIME_WAIT ({seen.time_wait} seen after {seen.closed} polls)"
    texts = guilty if verdict in ("refuted", "undecided") and guilty else [part.text for part in light[:1]]
    texts += [
        f"below T = {shown(balance.value, 's')} its polls cost more CPU than the heartbeats of a held WebSocket",
        left,
        f"kept alive it holds a connection too, {shown(memory[KEPT].value, 'KiB')}{_kernel(seen)} and a descriptor, "
        f"and costs more CPU below T = {shown(kept.value, 's')}",
    ]
    if verdict == "refined":
        texts.insert(0, texts.pop(1))  # the condition
    return Finding(None, balance.value, balance, rounds, verdict, "\n".join(texts), "s")


def _nothing(found: Interval, held: float, text: str) -> Part:
    """Less than a tenth of what a held client takes, told from half of it."""
    return Part(confidence.agrees(found, -math.inf, held / 10, -math.inf, held / 2), text)


def _kernel(seen: Burden) -> str:
    return "" if seen.kernel_bytes is None else f" (and {shown(seen.kernel_bytes / 1024, 'KiB')} in the kernel)"


def _holds(kind: str, found: Sequence[float], expected: float) -> Part:
    mean = math.fsum(found) / len(found)
    verdict: Verdict = "confirmed" if abs(mean - expected) <= 0.05 else "undecided" if expected else "refuted"
    return Part(verdict, f"{kind}: {mean:.2g} descriptors a client")


# P4


def revalidation_is_cheaper(seen: Revalidated) -> Finding:
    """P4: a poll without news costs fewer bytes with ``If-None-Match``; one with news costs more.

    The bytes are exact, so nothing here is undecided. ``measured``: with a cursor, the share of polls without news
    from which the condition pays, extra / (extra + saved); 1 means never.
    """
    frame = seen.frame
    asked = frame[frame["conditional"]]
    wrong = asked[(asked["status"] != 304) | (asked["changed_status"] != 200)]
    if len(wrong):
        first = wrong.iloc[0]
        why = f"asked again: {first['status']} without news, {first['changed_status']} with news; 304 and 200 expected"
        return Finding(None, None, None, len(asked), "refuted", why, "")
    whole, cursor = seen.saved("whole"), seen.saved("cursor")
    share = _pays(float(cursor["saved"].mean()), float(cursor["extra"].mean()))
    grows = float(whole["saved"].iloc[-1]) - float(whole["saved"].iloc[0])
    swept = float(whole.index[-1]) - float(whole.index[0])
    ends = _pays(float(whole["saved"].iloc[-1]), float(whole["extra"].iloc[-1]))
    texts = [
        f"with a cursor an empty poll saves {cursor['saved'].mean():.0f} of {cursor['bytes'].mean():.0f} bytes, but "
        f"one with news costs {cursor['extra'].mean():.0f} more: bytes are saved where over {share:.0%} of the polls "
        "are empty, and not wherever some are",
        f"without a cursor it saves the resource itself: {whole['saved'].iloc[0]:.0f} bytes at {whole.index[0]} bytes, "
        f"{whole['saved'].iloc[-1]:.0f} at {whole.index[-1]}, where it pays from {ends:.0%} on",
    ]
    if whole["saved"].iloc[-1] <= 0 or grows < swept / 2:
        verdict: Verdict = "refuted"
    else:
        verdict = "confirmed" if share <= 0.05 else "refined"
    return Finding(0.0, share, None, len(asked), verdict, "\n".join(texts), "")


def _pays(saved: float, extra: float) -> float:
    """The share of polls without news from which the condition saves bytes."""
    if saved <= 0:
        return 1.0
    return max(0.0, extra) / (max(0.0, extra) + saved)


# P5


def published_overheads(seen: Overheads) -> Finding:
    """P5: both tables follow from their inputs; Kaazing's only in Mibit/s, and its ratio only without TCP and IP.

    ``measured``: the overhead of a poll over that of a WebSocket message, TCP/IP headers counted, in this run;
    ``expected`` is theirs, 871 / 2.
    """
    decimal = {row: row.prints(row.mbit_per_s) for row in PUBLISHED}
    binary = {row: row.prints(row.mibit_per_s) for row in PUBLISHED}
    if not all(decimal[row] or binary[row] for row in PUBLISHED):
        return Finding(None, None, None, 0, "refuted", "a published figure does not follow from its inputs", "")
    theirs = 871 / 2
    bare, wire = (confidence.mean_interval(seen.ratios(tcp_ip)) for tcp_ip in (False, True))
    if not math.isfinite(wire.value):
        raise NoVerdict("not run", "this platform does not count TCP segments", seen.events)
    slips = sum(not decimal[row] and row.source == KAAZING for row in PUBLISHED)
    text = (
        f"a poll's headers over a frame's are {bare.value:.0f} to 1 here and {theirs:.0f} to 1 there; "
        f"with the TCP/IP headers that both tables leave out {wire.value:.2g} to 1\n"
        f"{slips} of Kaazing's six figures are Mibit/s printed as Mbps, the other table's is Mbit/s"
    )
    verdict = confidence.within(wire, 0.5 * theirs, 2 * theirs)
    if verdict == "refuted":
        bare_is_theirs = confidence.within(bare, 10.0, math.inf) == "confirmed"
        verdict = "refined" if bare_is_theirs else "refuted"
        text = f"true of headers and framing alone: {text}" if bare_is_theirs else text
    return Finding(theirs, wire.value, wire, seen.events, verdict, text, "")
