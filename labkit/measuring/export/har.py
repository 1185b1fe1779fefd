"""A run's HTTP exchanges and WebSocket messages as HAR 1.2 (HTTP Archive), for a browser's developer tools.

Not here: what is not HTTP, such as a plugin socket; the log's comment counts it.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from labkit.client.ledger import ConnectionRecord
from labkit.measuring.export.exchanges import CapturedMessage, Exchange, exchanges

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording


def to_har(run: Recording, path: str | Path) -> Path:
    """Write the run's HTTP exchanges as HAR 1.2, WebSocket messages as ``_webSocketMessages``.

    An exchange that had not ended is an entry of what had come. What has no entry is counted in the log's comment.
    """
    entries: list[dict[str, Any]] = []
    left_out: list[str] = []
    for record in run.ledger.of():
        found, complaint = exchanges(record)
        entries += [_entry(run, record, exchange, i == 0) for i, exchange in enumerate(found)]
        left_out += [f"{record.technique}, port {record.local[1]}: {complaint}"] if complaint else []
    entries.sort(key=lambda entry: entry["startedDateTime"])
    version = run.versions.get("labkit", "0")
    log = {"version": "1.2", "creator": {"name": "labkit", "version": version}, "pages": [], "entries": entries}
    if left_out:
        log["comment"] = "Left out: " + "; ".join(left_out)
    path = Path(path)
    path.write_text(json.dumps({"log": log}, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def _entry(run: Recording, record: ConnectionRecord, exchange: Exchange, is_first: bool) -> dict[str, Any]:
    timings = _timings(record, exchange, is_first)
    begin_ns = record.opened_ns if timings["connect"] >= 0 else exchange.sent_ns[0]
    notes = [f"{record.technique}, subscriber {record.subscriber}", exchange.complaint]
    if not exchange.is_whole and not exchange.messages:
        notes.append("the answer had not ended" if exchange.response is not None else "not answered")
    entry: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(run.wall_ns(begin_ns) / 1e9, UTC).isoformat(timespec="microseconds"),
        "time": sum(value for value in timings.values() if value >= 0),
        "request": _har_request(record, exchange),
        "response": _har_response(record, exchange),
        "cache": {},
        "timings": timings,
        "serverIPAddress": record.remote[0],
        "connection": str(record.local[1]),
        "comment": "; ".join(filter(None, notes)),
    }
    if exchange.response is not None and exchange.response.status_code == 101:
        entry["_resourceType"] = "websocket"
        entry["_webSocketMessages"] = [_har_message(run, message) for message in exchange.messages]
    return entry


def _timings(record: ConnectionRecord, exchange: Exchange, is_first: bool) -> dict[str, float]:
    connected_ns = record.connected_ns if is_first and not record.dropped_bytes else None
    sent_ns = exchange.sent_ns
    ended_ns = max(t.t_ns for t in record.transfers) if record.closed_ns is None else record.closed_ns
    read_ns = exchange.read_ns or (ended_ns, ended_ns)
    return {
        "blocked": -1.0,
        "dns": -1.0,
        "connect": -1.0 if connected_ns is None else (connected_ns - record.opened_ns) / 1e6,
        "send": (sent_ns[1] - sent_ns[0]) / 1e6,
        "wait": max(0, read_ns[0] - sent_ns[1]) / 1e6,
        "receive": (read_ns[1] - read_ns[0]) / 1e6,
        "ssl": -1.0,
    }


def _har_request(record: ConnectionRecord, exchange: Exchange) -> dict[str, Any]:
    request, size = exchange.request, exchange.request_span[1] - exchange.request_span[0]
    headers = _har_headers(request.headers)
    values = {field["name"].lower(): field["value"] for field in headers}
    target = request.target.decode("latin-1")
    is_socket = values.get("upgrade", "").lower() == "websocket"
    host = values.get("host") or f"{record.remote[0]}:{record.remote[1]}"
    shown: dict[str, Any] = {
        "method": request.method.decode("latin-1"),
        "url": f"{'ws' if is_socket else 'http'}://{host}{target}",
        "httpVersion": f"HTTP/{request.http_version.decode()}",
        "cookies": [],
        "headers": headers,
        "queryString": [
            {"name": name, "value": value} for name, value in parse_qsl(urlsplit(target).query, keep_blank_values=True)
        ],
        "headersSize": size - len(exchange.request_body),
        "bodySize": len(exchange.request_body),
    }
    if exchange.request_body:
        text = exchange.request_body.decode("utf-8", "replace")
        shown["postData"] = {"mimeType": values.get("content-type", ""), "text": text, "params": []}
    return shown


def _har_response(record: ConnectionRecord, exchange: Exchange) -> dict[str, Any]:
    response, (start, stop) = exchange.response, exchange.span
    headers = _har_headers(response.headers) if response is not None else []
    values = {field["name"].lower(): field["value"] for field in headers}
    head_bytes = _head_bytes(record, start, stop) if response is not None else -1
    return {
        "status": response.status_code if response is not None else 0,
        "statusText": response.reason.decode("latin-1") if response is not None else "",
        "httpVersion": f"HTTP/{response.http_version.decode()}" if response is not None else "",
        "cookies": [],
        "headers": headers,
        "content": _har_content(exchange.body, values.get("content-type", "")),
        "redirectURL": values.get("location", ""),
        "headersSize": head_bytes,
        "bodySize": stop - start - head_bytes if response is not None else -1,
    }


def _head_bytes(record: ConnectionRecord, start: int, stop: int) -> int:
    held = b""
    for t in record.transfers:
        if t.direction == "in" and t.start < stop and start < t.stop:
            held += t.data[max(0, start - t.start) : stop - t.start]
            if (end := held.find(b"\r\n\r\n")) >= 0:
                return end + 4
    return -1


def _har_headers(headers: Any) -> list[dict[str, str]]:
    return [{"name": name.decode("latin-1"), "value": value.decode("latin-1")} for name, value in headers.raw_items()]


def _har_content(body: bytes, mime_type: str) -> dict[str, Any]:
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
