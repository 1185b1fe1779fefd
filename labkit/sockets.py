"""What the kit asks of a TCP socket: segments and send buffer of a size, no Nagle delay, an end of what nobody reads.

Each platform has what it has; what is missing is left alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

from labkit.errors import LabkitError

# SO_LINGER of 0 s: close() sends RST. Windows has two shorts where others have two ints
RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
MSS = 1460  # what Ethernet carries; loopback's own segments of 64 KiB are those of no network
READ_BYTES = 64 << 10


def check_port(port: int) -> None:
    """Raises LabkitError for what is no port to listen on; 0 takes a free one."""
    if not 0 <= port <= 65535:
        raise LabkitError(f"port {port} is not a port: choose one from 1 to 65535, or 0 for a free one")


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


def kernel_bytes() -> int | None:
    """What the kernel keeps for one end of an idle TCP connection; None where it does not say."""
    try:
        lines = Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {name: int(size) for name, _, _, size, *_ in (line.split() for line in lines[2:])}
    return sizes.get("TCP")
