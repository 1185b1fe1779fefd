"""A run's HTTP exchanges and WebSocket messages as HAR 1.2 (HTTP Archive), for a browser's developer tools.

Not here: what is not HTTP, such as a plugin socket; the log's comment counts it.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.client.ledger import ConnectionRecord
from labkit.files import write
from labkit.measuring.export.exchanges import CapturedExchange, CapturedMessage, Way, exchanges
from labkit.measuring.masking import without_secrets
from labkit.wire.http1 import PROTOCOL, Head, origin_form

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording


def to_har(run: Recording, path: str | Path, *, with_secrets: bool = False) -> Path:
    """Write the run's HTTP exchanges as HAR 1.2, WebSocket messages as ``_webSocketMessages``.

    An exchange that had not ended is an entry of what had come. What has no entry is counted in the log's comment.

    Args:
        with_secrets: as they were sent, what is said in ``Authorization``, ``Cookie`` and the like; by default a
            placeholder stands for it.

    Raises:
        LabkitError: it cannot be written; nothing is left behind.
    """
    ledger = run.ledger if with_secrets else without_secrets(run)
    entries: list[dict[str, Any]] = []
    left_out: list[str] = []
    for record in ledger.of():
        found, complaint = exchanges(record)
        entries += [_entry(run, record, exchange, i == 0) for i, exchange in enumerate(found)]
        left_out += [f"{record.technique}, port {record.local[1]}: {complaint}"] if complaint else []
    entries.sort(key=lambda entry: entry["startedDateTime"])
    version = run.versions.get("labkit", "0")
    log = {"version": "1.2", "creator": {"name": "labkit", "version": version}, "pages": [], "entries": entries}
    if left_out:
        log["comment"] = "Left out: " + "; ".join(left_out)
    return write(path, json.dumps({"log": log}, ensure_ascii=False, indent=1))


def _entry(run: Recording, record: ConnectionRecord, found: CapturedExchange, is_first: bool) -> dict[str, Any]:
    timings, response = _timings(record, found, is_first), found.exchange.response
    begin_ns = record.opened_ns if timings["connect"] >= 0 else _times_ns(record, found)[0][0]
    notes = [f"{record.technique}, subscriber {record.subscriber}", found.exchange.complaint]
    if not found.is_whole and not found.messages:
        notes.append("the answer had not ended" if response is not None else "not answered")
    entry: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(run.wall_ns(begin_ns) / 1e9, UTC).isoformat(timespec="microseconds"),
        "time": sum(value for value in timings.values() if value >= 0),
        "request": _har_request(record, found),
        "response": _har_response(response, found.ways["in"]),
        "cache": {},
        "timings": timings,
        "serverIPAddress": record.remote[0],
        "connection": str(record.local[1]),
        "comment": "; ".join(filter(None, notes)),
    }
    if found.exchange.is_socket:
        entry["_resourceType"] = PROTOCOL
        entry["_webSocketMessages"] = [_har_message(run, message) for message in found.messages]
    return entry


def _times_ns(record: ConnectionRecord, found: CapturedExchange) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last byte of what was sent and of what came; where nothing came, the end of the connection."""
    ended_ns = max(t.t_ns for t in record.transfers) if record.closed_ns is None else record.closed_ns
    sent_ns = found.ways["out"].times_ns or (record.opened_ns, record.opened_ns)
    return sent_ns, found.ways["in"].times_ns or (ended_ns, ended_ns)


def _timings(record: ConnectionRecord, found: CapturedExchange, is_first: bool) -> dict[str, float]:
    connected_ns = record.connected_ns if is_first and not record.dropped_bytes else None
    sent_ns, read_ns = _times_ns(record, found)
    return {
        "blocked": -1.0,
        "dns": -1.0,
        "connect": -1.0 if connected_ns is None else (connected_ns - record.opened_ns) / 1e6,
        "send": (sent_ns[1] - sent_ns[0]) / 1e6,
        "wait": max(0, read_ns[0] - sent_ns[1]) / 1e6,
        "receive": (read_ns[1] - read_ns[0]) / 1e6,
        "ssl": -1.0,
    }


def _har_request(record: ConnectionRecord, found: CapturedExchange) -> dict[str, Any]:
    request, way = found.exchange.request, found.ways["out"]
    assert request is not None
    is_socket = PROTOCOL in (request.values.get("upgrade", "").lower(), request.values.get(":protocol"))
    host = request.values.get("host") or request.values.get(":authority") or f"{record.remote[0]}:{record.remote[1]}"
    scheme = f"{'ws' if is_socket else 'http'}{'s' * bool(record.tls_version)}"
    query = parse_qsl(found.exchange.query, keep_blank_values=True)
    shown: dict[str, Any] = {
        "method": request.method,
        "url": _url(request, scheme, host),
        "httpVersion": request.version,
        "cookies": [],
        "headers": _har_headers(request),
        "queryString": [{"name": name, "value": value} for name, value in query],
        "headersSize": way.head_bytes,
        "bodySize": way.body_bytes,
    }
    if way.body:
        text = way.body.decode("utf-8", "replace")
        shown["postData"] = {"mimeType": request.values.get("content-type", ""), "text": text, "params": []}
    return shown


def _url(request: Head, scheme: str, host: str) -> str:
    """Its address; of a tunnel, what it leads to."""
    if origin_form(request.target) != request.target:
        return request.target
    return f"{scheme}://{request.target if request.target == host else host + request.target}"


def _har_response(response: Head | None, way: Way) -> dict[str, Any]:
    values = response.values if response is not None else {}
    return {
        "status": response.status if response is not None else 0,
        "statusText": response.reason if response is not None else "",
        "httpVersion": response.version if response is not None else "",
        "cookies": [],
        "headers": _har_headers(response) if response is not None else [],
        "content": _har_content(way.body, values.get("content-type", "")),
        "redirectURL": values.get("location", ""),
        "headersSize": way.head_bytes if response is not None else -1,
        "bodySize": way.body_bytes if response is not None else -1,
    }


def _har_headers(head: Head) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in head.fields]


def _har_content(body: bytearray, mime_type: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"size": len(body), "mimeType": mime_type or "x-unknown"}
    try:
        return {**shown, "text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {**shown, "text": base64.b64encode(body).decode(), "encoding": "base64"}


def _har_message(run: Recording, message: CapturedMessage) -> dict[str, Any]:
    data = message.data
    return {
        "type": "send" if message.direction == "out" else "receive",
        "time": run.wall_ns(message.t_ns) / 1e9,
        "opcode": message.opcode,
        "data": data if isinstance(data, str) else base64.b64encode(data).decode(),
    }
