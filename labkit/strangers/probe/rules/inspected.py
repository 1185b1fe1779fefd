"""What reads along on the client's own machine or near it: row 6."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from labkit.strangers.probe.finding import Finding, Note
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.rules.compared import is_held

INSPECTORS = re.compile(
    r"\b(avast|avg|bitdefender|blue ?coat|charles proxy|check ?point|cisco umbrella|dr\.?web|eset|fiddler|forcepoint|"
    r"fortinet|fortigate|kaspersky|mcafee|mitmproxy|netskope|norton|palo alto|sophos|squid|watchguard|zap|zscaler)\b",
    re.I,
)
"""Whose certificates stand in for a server's own where TLS is inspected."""


def clear_text_is_held(seen: Seen) -> Finding | None:
    """Row 6: the same host, held over http and not over https (``--also``)."""
    first, also = seen.first, seen.others.get("also")
    if also is None or urlsplit(first.address).hostname != urlsplit(also.address).hostname:
        return None
    clear, secure = (first, also) if also.address.startswith(("https:", "wss:")) else (also, first)
    if not clear.address.startswith(("http:", "ws:")) or not secure.address.startswith(("https:", "wss:")):
        return None
    held, how = is_held(clear, secure)
    if not held:
        return None
    return Finding(
        6, "consistent with", "the same host is held over http and not over https", (how,),
        ("a program on this machine or near it that reads clear text, such as an antivirus (row 6): from another "
         "network it would flow", "a hop that stands before the port of http alone (row 1)"),
        ("use https: what reads along cannot hold what it cannot read",),
        "ask the same from another machine and another network",
    )  # fmt: skip


def made_certificate(seen: Seen) -> Note | None:
    """Row 6: a certificate that an inspecting program has made."""
    issuer = seen.first.issuer
    if not INSPECTORS.search(issuer):
        return None
    return Note(6, f"its certificate was made by {issuer!r}: what inspects TLS on this machine or its network reads "
                "the stream, and may hold it; other clients do not go through it")  # fmt: skip
