"""One end of a network of datagrams, in a process and a network namespace of its own: the server's, or the clients'.

The end makes a TUN device, whose packets its parent carries to the other end (``loss.py``): so each end's TCP is the
kernel's own, with its segments, acknowledgements and retransmissions. Linux alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from typing import Any

from labkit.course.background import lateness, until
from labkit.course.later_http import raw
from labkit.course.later_http.marks import NEW, OLD
from labkit.wire.events import now_ns

STREAMS, EVENTS, EVERY_S = 10, 14, 0.1
"""An event of each stream so often; those of two streams are a tenth of that apart, each in a packet of its own."""
LOST_EVENT, LOST_STREAM, MARK = 4, 4, b"lost once"
"""Which event's packet is lost, and what its parent knows it by."""
SERVER, CLIENT, PORTS = "10.14.0.1", "10.14.0.2", {OLD: 8001, NEW: 8002}
MTU = 1500
_TUNSETIFF, _TUN_WITHOUT_HEADER = 0x400454CA, 0x1001


def main() -> None:
    """Run the end that ``sys.argv`` names, over the socket whose descriptor it names."""
    role, control = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"labkit0", _TUN_WITHOUT_HEADER))
    address = SERVER if role == "server" else CLIENT
    for command in (f"addr add {address}/24 dev labkit0", f"link set labkit0 mtu {MTU} up"):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    socket.send_fds(control, [b"tun"], [tun])
    asyncio.run(_serve(control) if role == "server" else _listen(control))


async def _serve(control: socket.socket) -> None:
    """Answer each request with a stream, and begin to publish when the parent says so."""
    streams: dict[str, dict[int, Any]] = {OLD: {}, NEW: {}}

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
        streams[OLD][int(head.split(b" ")[1][1:])] = lambda line: writer.write(b"%x\r\n%s\r\n" % (len(line), line))

    async def new(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection, config, events = raw.h2()
        core = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        core.initiate_connection()

        def send(stream: int, line: bytes) -> None:
            core.send_data(stream, line)
            writer.write(core.data_to_send())

        while data := await reader.read(1 << 16):
            for event in core.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    number, stream = int(dict(event.headers)[":path"][1:]), event.stream_id
                    core.send_headers(stream, [(":status", "200")])
                    send(stream, b"{}\n")
                    streams[NEW][number] = lambda line, stream=stream: send(stream, line)
            writer.write(core.data_to_send())

    servers = [await asyncio.start_server(take, SERVER, PORTS[name]) for name, take in ((OLD, old), (NEW, new))]
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    if await loop.sock_recv(control, 8) == b"go":
        began_ns = now_ns()
        for number in range(EVENTS * STREAMS):
            due_ns = began_ns + round(number * EVERY_S / STREAMS * 1e9)
            await asyncio.sleep(max(0.0, (due_ns - now_ns()) / 1e9))
            event, stream = divmod(number, STREAMS)
            lost = (event, stream) == (LOST_EVENT, LOST_STREAM)
            data = {"id": event, "sent": now_ns(), "data": MARK.decode() if lost else "an event"}
            for name in streams:
                streams[name][stream](json.dumps(data, separators=(",", ":")).encode() + b"\n")
        await loop.sock_recv(control, 8)  # until the parent has gone
    for server in servers:
        server.close()


async def _listen(control: socket.socket) -> None:
    """Ask for ten streams on ten connections, and for ten on one; report how late each event of each was."""
    pieces: dict[str, list[list[tuple[int, bytes]]]] = {OLD: [[] for _ in range(STREAMS)]}
    async with contextlib.AsyncExitStack() as stack:
        for number, mine in enumerate(pieces[OLD]):
            await stack.enter_async_context(raw.followed(PORTS[OLD], f"/{number}", mine, SERVER))
        talk = await stack.enter_async_context(raw.talk(f"http://{SERVER}:{PORTS[NEW]}"))
        pieces[NEW] = [talk.ask(f"/{number}").pieces for number in range(STREAMS)]
        every = [mine for each in pieces.values() for mine in each]
        await until(lambda: all(b"{}\n" in b"".join(data for _, data in mine) for mine in every), raw.WAIT_S)
        control.sendall(b"ready")
        async with lateness() as timers_s:
            await until(lambda: all(len(raw.arrivals(mine)) >= EVENTS for mine in every), 2 * raw.WAIT_S)
        late_s = {
            name: [[(t_ns - json.loads(line)["sent"]) / 1e9 for t_ns, line in raw.events(mine)] for mine in each]
            for name, each in pieces.items()
        }
        control.sendall(json.dumps({**late_s, "timers_s": max(timers_s, default=0.0)}).encode())
        control.shutdown(socket.SHUT_WR)
