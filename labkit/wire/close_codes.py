"""What a WebSocket's close frame says: a code and a reason (RFC 6455 sections 5.5.1 and 7.4)."""

from __future__ import annotations

from labkit.errors import WireError
from labkit.wire.frames import CONTROL, LIMITS, UTF8, Opcode, check_control

CLOSE = "RFC 6455 section 5.5.1"
CLOSE_CODES = "RFC 6455 section 7.4"


def _check_close_code(code: int) -> None:
    if code in (1004, 1005, 1006, 1015):
        raise WireError(f"close code {code} never travels in a frame", clause=f"{CLOSE_CODES}.1")
    if not 1000 <= code <= 4999:
        raise WireError(f"close code {code} is not one of 1000 to 4999", clause=f"{CLOSE_CODES}.2")
    if 1016 <= code <= 2999:
        raise WireError(f"close code {code} is reserved for the protocol's future", clause=f"{CLOSE_CODES}.2")


def encode_close(code: int, reason: str = "") -> bytes:
    """The payload of a close frame: the code in two bytes, then the reason in UTF-8.

    Raises:
        WireError: a code that may not travel (RFC 6455 section 7.4), a reason over 123 bytes (section 5.5).
    """
    _check_close_code(code)
    try:
        text = reason.encode()
    except UnicodeEncodeError:
        raise WireError("a close reason with a lone surrogate cannot be UTF-8", clause=UTF8) from None
    if len(text) > 123:
        raise WireError(f"a reason has at most 123 bytes, not {len(text)}", clause=CONTROL)
    return code.to_bytes(2, "big") + text


def decode_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a close frame; 1005 when it carries none (RFC 6455 section 7.1.5).

    Raises:
        WireError: a payload of one byte (section 5.5.1), a code that may not travel (7.4), a reason that is not
            UTF-8 (8.1) or over 123 bytes (5.5).
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise WireError("a close frame of one byte: a code takes two", clause=CLOSE)
    check_control(Opcode.CLOSE, len(payload), True)
    code = int.from_bytes(payload[:2], "big")
    _check_close_code(code)
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise WireError(f"close reason is not UTF-8: {error.reason}", clause=UTF8) from None


def failure_code(error: WireError) -> int:
    """The close code to fail a connection with: 1007 for bad UTF-8, 1009 for too big, else 1002 (section 7.4.1)."""
    return {UTF8: 1007, LIMITS: 1009}.get(error.clause, 1002)
