"""What a client publishes on its own connection, where both sides send."""

from __future__ import annotations

import base64
import json

from labkit.server.access import Context, Refusal
from labkit.wire import envelope
from labkit.wire.events import now_ns


def answer_publish(context: Context, topic: str, message: str | bytes) -> str:
    """Publish what a client sent on its own connection; the answer to send back.

    ``{"publish": "text", "ref": 1}`` or ``{"publish_base64": "...", "ref": 1}`` is answered with
    ``{"published": 18, "ref": 1}``; anything else with ``{"error": "...", "ref": ...}``.
    """
    published_ns = now_ns()
    ref: object = None
    try:
        request = envelope.request(message)
        if not isinstance(request, dict):
            raise ValueError
        ref = request.pop("ref", None)
        match request:
            case {"publish": str(text), **rest} if not rest:
                data: str | bytes = text
                text.encode()
            case {"publish_base64": str(digits), **rest} if not rest:
                data = base64.b64decode(digits, validate=True)
            case _:
                raise ValueError
        event = context.publish(data, topic, published_ns)
    except (ValueError, RecursionError):
        return json.dumps({"error": 'expected {"publish": "text", "ref": 1} or "publish_base64"', "ref": ref})
    except Refusal as error:
        return json.dumps({"error": error.sentence, "ref": ref})
    return json.dumps({"published": event.id, "ref": ref})
