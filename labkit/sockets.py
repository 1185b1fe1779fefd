"""What the kit asks of a TCP socket: segments and send buffer of a size, no Nagle delay, and the kernel's own counts.

Each platform has what it has. What is missing is left alone, and a count that is not to be had stays unknown.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from labkit.ledger import ConnectionRecord

MSS = 1460  # what Ethernet carries; loopback's own segments of 64 KiB are those of no network
READ_BYTES = 64 << 10


def set_mss(sock: socket.socket, mss: int) -> None:
    """Limit the segments of a socket; nothing happens where the platform does not allow it."""
    option = getattr(socket, "TCP_MAXSEG", None)
    if option is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, mss)


def send_at_once(sock: socket.socket) -> None:
    """Turn Nagle's algorithm off: nothing that is sent waits for an acknowledgement (RFC 9293 section 3.7.4)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def dial(port: int, timeout_s: float | None = None) -> socket.socket:
    """A blocking connection to a port of 127.0.0.1, where nobody counts bytes.

    Raises:
        OSError: nobody listens there, or does not answer in time.
    """
    sock = socket.create_connection(("127.0.0.1", port), timeout_s)
    send_at_once(sock)
    return sock


def limit_unread(sock: socket.socket, timeout_s: float | None) -> None:
    """Let the system end a connection whose peer takes nothing of what it was sent for so long, where it can.

    RFC 5482's user time-out, which only Linux has. What the system has accepted, no writer sees any more.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = 0 if timeout_s is None else int(min(max(1.0, 1000 * timeout_s), 2**31 - 1))  # 0: its default
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def limit_send_buffer(sock: socket.socket, size: int | None) -> None:
    """Set how many bytes the system holds for a peer that does not take them; None leaves it to the system."""
    if size is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def read_segments(sock: socket.socket, record: ConnectionRecord) -> None:
    """Put down the kernel's count of TCP segments (Linux: struct tcp_info, segs_out and segs_in)."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None or not hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has both
        return
    with contextlib.suppress(OSError, struct.error):
        info = sock.getsockopt(socket.IPPROTO_TCP, option, 256)
        record.segments_out, record.segments_in = struct.unpack_from("II", info, 136)
        timestamps = info[5] & 1  # TCPI_OPT_TIMESTAMPS
        ip = 20 if sock.family == socket.AF_INET else 40
        record.segment_header_bytes = ip + (32 if timestamps else 20)
