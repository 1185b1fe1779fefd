"""Cases, and what was seen at them, as JSON. Pure."""

from __future__ import annotations

import base64
from typing import Any

from labkit.strangers.vectors.case import Answer, Case
from labkit.strangers.vectors.verdict import MAX_TEXT, brief
from labkit.strangers.vectors.visit import Seen, Visit

MAX_WIRE = 4096
"""Of the bytes of an answer, so many are told."""


def case_json(case: Case) -> dict[str, Any]:
    """A case as a harness reads it; a text of over 1024 characters is its length and its SHA-256."""
    return {
        "name": case.name,
        "kind": case.kind,
        "address": case.address,
        "about": case.about,
        "clause": case.clause,
        "slow": case.is_slow,
        "outcomes": [{"had": brief(o.had), "sees": brief(o.sees), "why": o.why} for o in case.outcomes],
        "waitsMs": list(case.waits_ms),
        "does": dict(case.does),
        "answers": [_answer_json(answer) for answer in case.answers],
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    body = answer.body
    return {
        "bodyBytes": len(body),
        "body": base64.b64encode(body).decode() if len(body) <= MAX_WIRE else None,
        "end": answer.end,
        "cut": answer.cut,
    }


def seen_json(case: Case, visit: Visit | None) -> dict[str, Any]:
    """What the server saw of a visit; no requests if there was none."""
    requests = [] if visit is None else [_request_json(seen) for seen in visit.seen]
    return {"case": case.name, "visit": "" if visit is None else visit.token, "requests": requests}


def _request_json(seen: Seen) -> dict[str, Any]:
    return {
        "at_ms": round(seen.at_s * 1000),
        "method": seen.method,
        "target": seen.target[:MAX_TEXT],
        "fields": [list(pair) for pair in seen.fields],
        "lastEventId": seen.field("Last-Event-ID"),
        "answered": seen.answered,
        "written_ms": None if seen.written_s is None else round(seen.written_s * 1000),
        "endedBy": seen.ended_by,
        "frames": seen.frames,
        "closeCode": seen.close and seen.close["code"],
        "broke": seen.broke,
    }
