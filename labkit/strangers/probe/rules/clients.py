"""What many clients together, or another kind of client, would see: rows 10, 16, 17 and 18. Notes, all of them."""

from __future__ import annotations

from labkit.strangers.probe.finding import Note, tap_between
from labkit.strangers.probe.observation import LIVE, Seen
from labkit.strangers.probe.remedies import suspect

GIVES_UP_S = 300.0
"""undici's ``bodyTimeout``, and so node's ``fetch``: between two reads."""
SILENT_S = 5.0
SHORT_S = 0.5
"""What is over sooner holds no connection."""
HOPS = frozenset({"nginx", "cloudflare", "envoy", "varnish", "caddy", "apache", "haproxy", "lighttpd", "squid",
                  "traefik"})  # fmt: skip


def client_gives_up(seen: Seen) -> Note | None:
    """Row 10: a silence that this client has outlived, and another one would not."""
    first = seen.first
    if first.kind not in LIVE or first.status != 200 or first.end != "open":
        return None
    silence_s = max([*first.gaps_s, first.idle_s])
    if silence_s >= 1.01 * GIVES_UP_S:
        return Note(10, f"nothing cut it in a silence of {silence_s:.0f} s: a client that loses it after "
                    f"{GIVES_UP_S:.0f} s ends it itself (undici's bodyTimeout, so node's fetch): a heartbeat, or "
                    "bodyTimeout: 0")  # fmt: skip
    if silence_s < SILENT_S:
        return None
    return Note(10, f"nothing cut it in a silence of {silence_s:.0f} s here. A client that ends it itself (undici, so "
                f"node's fetch, after {GIVES_UP_S:.0f} s) is not seen from here: `labkit tap --to {seen.url}` before "
                "that client says who sent the FIN")  # fmt: skip


def http_1_only(seen: Seen) -> Note | None:
    """Row 16."""
    first = seen.first
    if first.kind not in LIVE or first.status != 200 or not first.is_http1_by_choice:
        return None
    if first.end in ("clean", "closed") and first.end_s < SHORT_S:
        return None
    return Note(16, f"HTTP/{first.http_version}: a browser holds six such streams per host, over all tabs; the seventh "
                "hangs (HTTP/2, or one stream by Web Lock)")  # fmt: skip


def constant_return(seen: Seen) -> Note | None:
    """Row 17: a time to come back after that is the same for everybody, as far as that was seen."""
    first = seen.first
    after = first.headers.get("retry-after", "")
    if first.status in (429, 503) and after.isdigit():
        return Note(17, f"Retry-After: {after}: if everybody gets the same, all come back in the same moment "
                    "(add a random part)")  # fmt: skip
    told = [one.retry_ms for one in seen if one.retry_ms is not None]
    if first.retry_ms is None or len({*told}) > 1:
        return None
    whose = f"in each of {len(told)} answers" if len(told) > 1 else "if everybody gets the same"
    return Note(17, f"retry: {first.retry_ms}, {whose}: after a cut all come back in the same moment "
                "(add a random part)")  # fmt: skip


def left_open(seen: Seen) -> Note | None:
    """Row 18: the probe has left an open stream behind a hop."""
    first = seen.first
    if not first.is_live or first.end != "open" or first.status not in (200, 101):
        return None
    if "also" not in seen.others and suspect(first) not in HOPS and "via" not in first.headers:
        return None
    where = tap_between(seen, "whether the server was told")
    return Note(18, "the probe has left an open stream. A hop may keep its own side open, and the server works on for "
                f"nobody: not from here. {where[0].upper()}{where[1:]}")  # fmt: skip
