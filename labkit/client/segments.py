"""A connection's TCP segments: the kernel's own count, where it tells, and by rule those that it no longer counts.

A socket is asked before it is closed, and cannot be asked after: its FIN and the last acknowledgement are to come. They
follow from the state that it is in (RFC 9293 section 3.6); a peer that closes at once acknowledges with its own FIN. A
SYN carries more options than any other segment. On other systems than Linux all of it stays unknown.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from labkit.client.ledger import ConnectionRecord

_TIMESTAMPS, _SACK, _WINDOW_SCALE = 1, 2, 4  # TCPI_OPT_..., struct tcp_info
_ESTABLISHED, _FIN_WAIT_1, _FIN_WAIT_2, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 1, 4, 5, 8, 9, 11
_TO_COME = {
    _ESTABLISHED: (2, 1),  # our FIN and the last acknowledgement; the peer's FIN, which acknowledges ours
    _CLOSE_WAIT: (1, 1),  # our FIN; its acknowledgement
    _FIN_WAIT_1: (1, 1),
    _FIN_WAIT_2: (1, 1),
    _LAST_ACK: (0, 1),
    _CLOSING: (0, 1),
}
"""State -> segments (out, in) until the connection is over, if it is closed now."""


def read_segments(sock: socket.socket, record: ConnectionRecord, *, accepted: bool = False) -> None:
    """Put down how many TCP segments a connection has had when it is closed now, and how long their headers are.

    Args:
        accepted: whether the other side opened it: then the system has not counted the SYN that answered.
    """
    option = getattr(socket, "TCP_INFO", None)
    if option is None or not hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has both
        return
    with contextlib.suppress(OSError, struct.error):
        info = sock.getsockopt(socket.IPPROTO_TCP, option, 256)
        sent, came = struct.unpack_from("II", info, 136)  # segs_out and segs_in
        more_sent, more_came = (1, 0) if _resets(sock) else _TO_COME.get(info[0], (0, 0))
        record.segments_out, record.segments_in = sent + more_sent + accepted, came + more_came
        options = info[5]
        ip = 20 if sock.family == socket.AF_INET else 40
        record.segment_header_bytes = ip + (32 if options & _TIMESTAMPS else 20)
        record.syn_option_bytes = 2 * _syn_options(options)


def _syn_options(agreed: int) -> int:
    """What one SYN carries that other segments do not: MSS, window scale, SACK where no timestamps make room for it."""
    alone = agreed & _SACK and not agreed & _TIMESTAMPS
    return 4 + 4 * bool(agreed & _WINDOW_SCALE) + 4 * bool(alone)


def _resets(sock: socket.socket) -> bool:
    """Whether closing it sends RST: it was told to, or something that came was never read (RFC 2525 section 2.17)."""
    lingers, seconds = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    if lingers and not seconds:
        return True
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False
