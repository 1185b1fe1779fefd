"""A happening as one line for people, as it comes."""

from __future__ import annotations

from labkit.strangers.tap.exchanges import Board, Seen
from labkit.strangers.tap.log import Entry
from labkit.wire.http1 import printable

MOST_SHOWN = 60
OTHER_SIDE = {"client": "server", "server": "client"}
HOW = {
    "whole": "ended whole",
    "client": "the client sent FIN",
    "server": "the server sent FIN",
    "client reset": "the client sent RST",
    "server reset": "the server sent RST",
    "relay": "ended by the tap",
    "not reached": "the server was not reached",
    "no TLS": "no TLS with the server",
}


class Teller:
    """Tells one entry after another: each line with the time from the beginning, and from the exchange's last."""

    def __init__(self) -> None:
        self._board = Board()
        self._heard: dict[int, int] = {}

    def line(self, entry: Entry) -> str:
        """The entry's line; empty where there is none for it."""
        seen = self._board.happened(entry)
        text = _told(entry, seen)
        if entry["what"] == "end" and seen is not None:
            del self._board.exchanges[seen.number]
        elif seen is not None:
            seen.forget()
        if entry["what"] == "closed":
            self._board.clients.pop(entry["c"], None)
        if not text:
            return ""
        t_ns = entry["t_ns"]
        since = ""
        if seen is not None:
            before_ns = self._heard.get(seen.number)
            since = f"+{seconds(t_ns - before_ns)}" if before_ns is not None and before_ns <= t_ns else ""
            self._heard[seen.number] = t_ns
            if entry["what"] == "end":
                self._heard.pop(seen.number, None)
        number = f"#{seen.number}" if seen is not None else ""
        return f"{t_ns / 1e9:9.3f} {since:>9} {number:>5} {text}"


def seconds(t_ns: int) -> str:
    """A time as people say it."""
    if t_ns < 9_950_000:
        return f"{t_ns / 1e6:.1f} ms"
    return (
        f"{t_ns / 1e6:.0f} ms"
        if t_ns < 999_500_000
        else f"{t_ns / 1e9:.2f} s"
        if t_ns < 1e11
        else f"{t_ns / 1e9:.0f} s"
    )


def ending(seen: Seen) -> str:
    """How an exchange ended, and what its two clocks said."""
    text = HOW.get(seen.how, seen.how)
    code = next((_closing(entry) for entry in seen.controls if entry["op"] == "close"), "")
    if seen.how != "whole" and not seen.whole and seen.status and seen.status != 101:
        text += " before the answer was whole" if seen.answered_ns >= 0 else " before an answer"
    clocks = f", {seconds(seen.ended_ns - seen.asked_ns)} after the request" if seen.asked_ns >= 0 else ""
    if seen.asked_ns < seen.heard_ns <= seen.ended_ns and seen.how != "whole":
        clocks += f", {seconds(seen.ended_ns - seen.heard_ns)} after the server's last"
    return code + text + clocks


def _closing(entry: Entry) -> str:
    """Whose close frame came first (RFC 6455 section 7.1.5)."""
    reason = f" ({entry['reason']})" if entry["reason"] else ""
    return f"the {'client' if entry['way'] == 'out' else 'server'} closed with {entry['code']}{reason}, then "


def _told(entry: Entry, seen: Seen | None) -> str:
    what = entry["what"]
    if what == "note":
        return f"! {printable(entry['text'], 300)}"
    if seen is None:
        return ""
    match what:
        case "request":
            held = f", Last-Event-ID {printable(seen.last_event_id, 40)}" if seen.last_event_id is not None else ""
            upgrade = ", upgrade" if "upgrade" in seen.request else ""
            return f"{entry['method']} {printable(entry['target'], 100)}{upgrade}{held}"
        case "answer":
            kind = printable(seen.response.get("content-type", ""), 60)
            coding = printable(seen.response.get("content-encoding", ""), 20)
            return " ".join(filter(None, [f"<- {entry['status']}", kind, coding]))
        case "event":
            name = f"event {printable(entry['id'], 40)}" if entry.get("id") else "event"
            kind = f" ({printable(entry['type'], 30)})" if entry.get("type") not in ("", "message", None) else ""
            return f"<- {name}{kind}, {entry['bytes']} B{_beginning(entry)}"
        case "message":
            return f"-> message, {entry['bytes']} B{_beginning(entry)}"
        case "beat":
            return f"<- heartbeat, {entry['bytes']} B"
        case "gap":
            return f"<- gap after {printable(str(entry['after']), 40)}: next is {printable(str(entry['next']), 40)}"
        case "piece":
            return f"<- {entry['bytes']} B"
        case "control":
            close = f" {entry['code']} {entry['reason']}".rstrip() if entry["op"] == "close" else ""
            return f"{'->' if entry['way'] == 'out' else '<-'} {entry['op']}{close}"
        case "fin":
            return f"{HOW[entry['by']]}, and the {OTHER_SIDE[entry['by']]} has not ended its side"
        case "end":
            return f"{ending(seen)}: {sum(entry['bytes'].values())} B"
    return ""


def _beginning(entry: Entry) -> str:
    text = printable(entry.get("data") or "", MOST_SHOWN)
    return f"  {text}" if text else ""
