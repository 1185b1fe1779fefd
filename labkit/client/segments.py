"""The kernel's own count of a connection's TCP segments, where it tells; elsewhere it stays unknown."""

from __future__ import annotations

import contextlib
import socket
import struct

from labkit.client.ledger import ConnectionRecord


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
