"""``python -m labkit serve``: a push server in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.commands.publishing import add_source, schedule_of
from labkit.errors import LabkitError
from labkit.loop import happened, run_main
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    from labkit.lab.server import Server
    from labkit.measuring.schedules import Schedule

TRUSTING = "--user-data-dir=$(mktemp -d) --ignore-certificate-errors-spki-list={}"
"""Believe one key, in a profile of its own: Chromium takes the second only beside the first."""
HELP = "run a push server in the foreground, without a notebook"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="HTTP port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--plugin-port", type=int, default=0, help="plugin socket's port (default: a free one)")
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL",
        help="let pages of this origin use it, such as https://hub.example.org; may be repeated",
    )  # fmt: skip
    parser.add_argument("--tls", action="store_true", help="speak TLS, with a certificate of a throw-away authority")
    parser.add_argument(
        "--http", default="1", metavar="1,2",
        help="HTTP versions to speak: 1, 2 or both (default: 1); 2 needs labkit[http2], and in browsers --tls",
    )  # fmt: skip
    parser.add_argument("--no-hint", action="store_true",
                        help="do not ask intermediaries not to buffer: what do yours do by themselves?")  # fmt: skip
    add_source(parser, "publish by itself: ")


def run(arguments: argparse.Namespace) -> int:
    """As :func:`serve`."""
    schedule = schedule_of(arguments, 1000.0) if arguments.source else None
    ports = {"port": arguments.port, "plugin_port": arguments.plugin_port}
    http = versions_of(arguments.http)
    options = {"allow_origins": arguments.allow_origin, "buffering_hint": not arguments.no_hint}
    return serve(schedule=schedule, tls=arguments.tls, http=http, **options, **ports)


def versions_of(text: str) -> tuple[int, ...]:
    """The HTTP versions that ``--http`` names.

    Raises:
        ValueError: it names none; the message says what it takes.
    """
    asked = tuple(text.split(","))
    if not set(asked) <= {"1", "2"} or len(set(asked)) < len(asked):
        raise ValueError(f"--http {text}: expected 1, 2 or 1,2")
    return tuple(sorted(map(int, asked)))


def serve(
    *,
    port: int = 0,
    plugin_port: int = 0,
    schedule: Schedule | None = None,
    tls: bool = False,
    http: Sequence[int] = (1,),
    allow_origins: Sequence[str] = (),
    buffering_hint: bool = True,
) -> int:
    """Serve until told to stop; returns the exit status.

    Args:
        port, plugin_port: on 127.0.0.1; 0 takes free ones.
        schedule: published over and over; None publishes nothing: the ids belong to whoever POSTs.
        tls: speak TLS; where the authority's certificate is, is printed.
        http: the versions of HTTP to speak.
        allow_origins: pages of other origins that may use it.
        buffering_hint: ask intermediaries not to hold streams back.

    Raises:
        LabkitError: a port is in use; the message names it. TLS without the extra that makes certificates, HTTP/2
            without its own.
        ValueError: something that is no origin; the message names it.
    """
    ports = {"http": port, "plugin": plugin_port}
    with contextlib.suppress(KeyboardInterrupt):  # where signals cannot be handled by the loop
        options = {"http": http, "allow_origins": allow_origins, "buffering_hint": buffering_hint}
        run_main(_serve(ports, schedule, tls, options))
    return 0


async def _serve(ports: dict[str, int], schedule: Schedule | None, tls: bool, options: dict[str, Any]) -> None:
    from labkit.lab.server import Server
    from labkit.server.tls import forget, throw_away

    stopped = asyncio.Event()
    for name in ("SIGINT", "SIGTERM"):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stopped.set)
    identity = throw_away() if tls else None
    server = Server(tls=identity, **options)
    server.start(port=ports["http"], plugin_port=ports["plugin"])
    cafile = identity.publish_authority() if identity else None
    ended = threading.Event()
    publisher = threading.Thread(target=_publish, args=(server, schedule, ended), daemon=True)
    try:
        _announce(server, cafile, identity.fingerprint if identity else "")  # perhaps to somebody who has gone
        if schedule is not None:
            publisher.start()
        await happened(stopped)
    finally:
        ended.set()
        forget(cafile)
        await server.close()
        print("stopped", flush=True)


def _announce(server: Server, cafile: str | None, fingerprint: str) -> None:
    base = f"{'https' if cafile else 'http'}://127.0.0.1:{server.ports['http']}"
    print(f"labkit serves at {base}  (open it in a browser to see every technique live)")
    for technique in server.techniques:
        print(f"  {technique.name:<16}{technique.url('127.0.0.1', server.ports, tls=bool(cafile))}")
    print(f"publish with:  curl {f'--cacert {cafile} ' if cafile else ''}-d hello {base}/events")
    if 2 in server.http.versions:
        stream = next((technique.route for technique in server.techniques if technique.kind == "stream"), "/")
        print(f"with HTTP/2:   curl -N --http2{f' --cacert {cafile}' if cafile else '-prior-knowledge'} {base}{stream}")
    if cafile:
        print(f"a browser that believes it:  chromium {TRUSTING.format(fingerprint)} {base}")
    print("Ctrl-C stops it", flush=True)


def _publish(server: Server, schedule: Schedule, ended: threading.Event) -> None:
    """Publish it over and over. What the server takes from nobody is said once for each reason, and left out."""
    from labkit.server.limits import check_data, check_topic

    said: set[str] = set()
    while not ended.is_set():
        started_ns = now_ns()
        for event in schedule.plan():
            if ended.wait(max(0.0, event.offset_s - (now_ns() - started_ns) / 1e9)):
                return
            data = event.data() if callable(event.data) else event.data
            try:
                check_data(data, server.context.max_event_bytes)
                check_topic(event.topic)
                server.hub.publish(data, event.topic, now_ns())
            except (LabkitError, ValueError) as error:
                if str(error) not in said:
                    print(f"not published: {error}", flush=True)
                said.add(str(error))
        if ended.wait(max(0.1, schedule.duration_s - (now_ns() - started_ns) / 1e9)):
            return
