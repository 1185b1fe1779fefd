"""``python -m labkit probe URL``: what is wrong with my stream?"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.commands.headers import headers_of
from labkit.errors import LabkitError

if TYPE_CHECKING:
    from labkit.strangers.probe.report import Report

HELP = "say what is wrong with a stream: ask, ask again with one thing changed, name the line to change"
EXIT = ("Exit status: 0 nothing found, 1 a finding, 2 it could not be asked (no connection, no trust, a redirection, a "
        "log-in), 130 interrupted before any of that.")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXIT
    parser.add_argument("url", metavar="URL", help="http(s):// or ws(s)://")
    parser.add_argument(
        "--also", metavar="ADDRESS", help="asked at the same time, to compare: behind the suspected hop, or by https"
    )
    parser.add_argument("--technique", default="auto", metavar="NAME",
                        help="whose client asks: of `labkit techniques`, one over HTTP (default: by URL)")  # fmt: skip
    parser.add_argument("--method", help="of the request (default: GET, POST with --data)")
    parser.add_argument("--data", default="", metavar="TEXT|@FILE", help="the request's body; it is sent exactly once")
    parser.add_argument("--again", action="store_true", help="allow a request with a body to be sent again")
    parser.add_argument("--cut", action="store_true", help="ask once more with Last-Event-ID, as after a cut")
    parser.add_argument("--publish", action="store_true",
                        help="behind the hop is a lab (labkit serve): POST events to it, through the hop")  # fmt: skip
    parser.add_argument("--parallel", type=int, default=0, metavar="N",
                        help="ask so many times more at once: how many get an answer?")  # fmt: skip
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE",
                        help="send this with each request, such as a key; its value is shown nowhere; may be "
                        "repeated")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S",
                        help="how long each answer is listened to (default: %(default)s); an idle limit of 60 s is "
                        "seen from 75 on")  # fmt: skip
    parser.add_argument("--http", type=int, choices=(1, 2), metavar="1|2",
                        help="the version of HTTP (default: over TLS the server's choice)")  # fmt: skip
    parser.add_argument("--cafile", metavar="FILE", help="believe these authorities, not the system's (PEM)")
    parser.add_argument("--proxy", metavar="URL",
                        help="an HTTP proxy, http://[NAME:PASSWORD@]HOST:PORT; --also goes without it")  # fmt: skip
    parser.add_argument("--insecure", action="store_true", help="believe any certificate")
    parser.add_argument("--expect", default="", metavar="LIMITS",
                        help="such as first-event=2s,gap=5s: what is not so counts as a finding; head, first-byte, "
                        "first-event and gap are most, lasts is least")  # fmt: skip
    parser.add_argument("--html", metavar="PAGE.html", help="write a page of it")
    parser.add_argument("--json", metavar="FILE", help="write all that was seen and found; - for the terminal")


def run(arguments: argparse.Namespace) -> int:
    """Probe, print and write; the exit status.

    Raises:
        LabkitError: arguments that cannot be; nothing was sent.
    """
    from labkit.strangers.probe.probing import probe

    alone = arguments.json == "-"
    for file in filter(None, (arguments.html, "" if alone else arguments.json)):
        files.check(file)
    with _interruptible():
        report = probe(
            arguments.url,
            also=arguments.also,
            technique=arguments.technique,
            method=arguments.method,
            data=_body(arguments.data),
            headers=headers_of(arguments.header),
            seconds=arguments.seconds,
            again=arguments.again,
            cut=arguments.cut,
            parallel=arguments.parallel,
            publish=arguments.publish,
            expect=arguments.expect,
            cafile=arguments.cafile,
            insecure=arguments.insecure,
            http=arguments.http,
            proxy=arguments.proxy,
            say=_say,
        )
    try:
        wrote = [f"wrote {write(file)}" for file, write in _files(report, arguments) if file]
    finally:  # whether or not they can be written, or somebody still reads
        print(report.json(is_ascii=True) if alone else report, flush=True)
    print(*wrote, sep="\n", end="\n" * bool(wrote), file=sys.stderr if alone else sys.stdout)
    return report.status


def _files(report: Report, arguments: argparse.Namespace) -> Iterator[tuple[str | None, Callable[[str], Path]]]:
    yield arguments.json if arguments.json != "-" else None, report.to_json
    yield arguments.html, report.to_html


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, also where a shell has had it ignored."""
    before: Any = None
    with contextlib.suppress(ValueError):  # not the main thread
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _body(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise LabkitError(f"--data {text}: it cannot be read: {error.strerror or error}") from None
