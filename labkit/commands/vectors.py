"""``python -m labkit vectors``: is my client right?"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

HELP = "serve streams, answers and messages as awkward as allowed, to try a client on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="to listen on (default: a free one)")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="two seconds where a case waits for a minute")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit status.

    Raises:
        LabkitError: the port is in use; the message names it.
    """
    with contextlib.suppress(KeyboardInterrupt):  # where signals cannot be handled by the loop
        asyncio.run(_serve(arguments.host, arguments.port, arguments.fast))
    return 0


async def _serve(host: str, port: int, is_fast: bool) -> None:
    from labkit.strangers.vectors.catalogue import ALL
    from labkit.strangers.vectors.server import VectorServer

    stopped = asyncio.Event()
    for name in ("SIGINT", "SIGTERM"):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stopped.set)
    server = VectorServer(is_fast=is_fast)
    port = await server.start(host, port)
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"labkit serves {len(ALL)} cases at {base}  (open it in a browser, and try that)")
    print(f'for example   curl -N "{base}/event-stream/crlf?visit=1"')
    print(f"what is right {base}/cases/crlf.json; all of them: {base}/cases.json")
    print("Ctrl-C stops it", flush=True)
    try:
        await stopped.wait()
    finally:
        await server.close()
        print("stopped", flush=True)
