"""A WebSocket client over a bare socket, for tests of what a server makes of each byte."""

from __future__ import annotations

import base64
import os
import socket

from conftest import UNIT
from labkit.wire.close_codes import decode_close
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame

MASK = b"\x01\x02\x03\x04"


class RawClient:
    """A WebSocket client that sends whatever bytes it is told to."""

    def __init__(self, port: int, path: str = "/websocket/echo", extensions: str = "", receive_bytes: int = 0) -> None:
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(5 * UNIT)
        self.sock.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        self.head = head.decode()
        self.decoder = FrameDecoder(masked=False, reserved=frozenset({"rsv1"}))
        self.frames: list[Frame] = []

    def send(self, *frames: Frame | bytes) -> None:
        self.sock.sendall(b"".join(f if isinstance(f, bytes) else encode_frame(f) for f in frames))

    def frame(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        while not self.frames:
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self.frames += self.decoder.feed(data)
        return self.frames.pop(0)

    def closing(self) -> tuple[int, str]:
        """Code and reason of the close frame, after which the server ends the connection."""
        frame = self.frame()
        assert frame is not None and frame.opcode is Opcode.CLOSE, frame
        assert self.frame() is None
        return decode_close(frame.payload)
