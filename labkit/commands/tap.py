"""``python -m labkit tap``: what passes between any client and any server."""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.errors import LabkitError, package
from labkit.progress import go_unheard
from labkit.theory.durations import seconds

if TYPE_CHECKING:
    from labkit.strangers.tap.tap import Tap

HELP = "relay between any client and any server, and tell what passes"
LOOK_S = 0.05
LONGEST_S = 366 * 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="URL", help="the server, by http(s) or ws(s); clients ask the tap in its place")
    parser.add_argument("--forward", action="store_true",
                        help="be an HTTP proxy instead, as for curl -x: CONNECT is counted alone")  # fmt: skip
    parser.add_argument("--listen", type=int, default=0, metavar="PORT", help="on 127.0.0.1 (default: a free one)")
    parser.add_argument("--as-sent", action="store_true",
                        help="leave Host, Origin, Referer, Location and cookies as they were sent")  # fmt: skip
    parser.add_argument("--cafile", metavar="FILE", help="believe these authorities, not the system's (PEM)")
    parser.add_argument("--insecure", action="store_true", help="believe any certificate")
    parser.add_argument("--one-way", type=float, default=0.0, metavar="MS", help="delay each way so long (0 ms)")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="MS", help="up to this much more (0 ms)")
    parser.add_argument("--rate", type=float, metavar="BYTES", help="at most so many bytes a second each way")
    parser.add_argument("--cut-after", type=float, metavar="S", help="cut all connections then, and take new ones")
    parser.add_argument("--cut-how", choices=("reset", "fin"), default="reset", help="how they end (default: reset)")
    parser.add_argument("--stall-after", type=float, metavar="S", help="let nothing pass from then on")
    parser.add_argument("--heal-after", type=float, metavar="S", help="end the stall so much later")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so long (default: at Ctrl-C)")
    parser.add_argument("--no-content", action="store_true", help="keep and show sizes and times alone")
    parser.add_argument("--with-secrets", action="store_true",
                        help="keep what Authorization, Cookie and token-like query values say")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no line for each happening")
    parser.add_argument("--out", metavar="FILE", help="write what was seen: .jsonl, or .parquet as any run")
    parser.add_argument("--html", metavar="PAGE.html", help="write a page of it")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"),
                        help="what the proxy between two taps did: the client's side, the server's")  # fmt: skip
    parser.add_argument("--har", metavar="FILE", help="write the exchanges for a browser's developer tools")
    parser.add_argument("--pcapng", metavar="FILE", help="write the clients' connections for Wireshark")


def run(arguments: argparse.Namespace) -> int:
    """Relay until told to stop, tell what passes, and write what was asked for; or compare.

    Returns:
        the exit status: 2 if a file could not be written in its place. Of a comparison 1 if the two differ,
        and 2 if they have no exchange in common.

    Raises:
        LabkitError: what was asked for cannot be done; the message says why.
    """
    if arguments.compare:
        return _compare(*arguments.compare)
    if bool(arguments.to) is arguments.forward:
        raise LabkitError("tap needs --to URL, the server that it stands in front of, or --forward, to be a proxy")
    _check(arguments)
    stopped = threading.Event()
    with _signals(stopped):
        return 0 if _relay(arguments, stopped) else 2


def _compare(a: str, b: str) -> int:
    from labkit.strangers.tap.comparing import compare
    from labkit.strangers.tap.log import read

    found = compare(read(a), read(b))
    print(found)
    return 1 if found.differences else 0 if found.pairs else 2


def _check(arguments: argparse.Namespace) -> None:
    out = arguments.out or ""
    if out and not out.endswith((".jsonl", ".parquet")):
        raise LabkitError(f"--out {out}: a tap is written as .jsonl or as .parquet")
    if out.endswith(".parquet"):
        package("pyarrow")
    for path in (out, arguments.html, arguments.har, arguments.pcapng):
        if path:
            files.check(path)
    if arguments.no_content and (arguments.har or arguments.pcapng):
        raise LabkitError("--har and --pcapng hold contents: leave out --no-content")
    if arguments.heal_after is not None and arguments.stall_after is None:
        raise LabkitError("--heal-after goes with --stall-after")
    for name in ("seconds", "cut_after", "stall_after", "heal_after"):
        if (given := getattr(arguments, name)) is not None:
            seconds(f"--{name.replace('_', '-')}", given, LONGEST_S)


@contextlib.contextmanager
def _signals(stopped: threading.Event) -> Any:
    """Let Ctrl-C and SIGTERM end it in order, also where a shell has had SIGINT ignored."""
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, lambda *_: stopped.set())
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _relay(arguments: argparse.Namespace, stopped: threading.Event) -> bool:
    from labkit.strangers.tap.tap import Tap

    entries: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    tap = Tap(
        arguments.to,
        listen=arguments.listen,
        as_sent=arguments.as_sent,
        content=not arguments.no_content,
        with_secrets=arguments.with_secrets,
        cafile=arguments.cafile,
        insecure=arguments.insecure,
        one_way_s=arguments.one_way / 1e3,
        jitter_s=arguments.jitter / 1e3,
        rate_bytes_per_s=arguments.rate,
        heard=(lambda _: None) if arguments.quiet else entries.put,
    )
    try:
        _until_stopped(tap, arguments, stopped, entries)
    except BrokenPipeError:  # nobody reads what it tells; what was asked for is written all the same
        go_unheard()
        _write(tap, arguments)
        raise
    return _write(tap, arguments)


def _until_stopped(
    tap: Tap, arguments: argparse.Namespace, stopped: threading.Event, entries: queue.SimpleQueue[dict[str, Any]]
) -> None:
    """Tell what passes."""
    from labkit.strangers.tap.telling import Teller

    teller = Teller()
    with tap:
        print(f"labkit taps {tap.log.settings['to']} at {tap.shown_url}")
        print(f"{tap.rewrites} Ctrl-C ends it.", flush=True)
        faults = _faults(arguments)
        began = time.monotonic()
        while not stopped.is_set():
            elapsed = time.monotonic() - began
            if arguments.seconds is not None and elapsed >= arguments.seconds:
                break
            while faults and elapsed >= faults[0][0]:
                _do(tap, faults.pop(0)[1], arguments.cut_how)
            with contextlib.suppress(queue.Empty):
                _show(teller, entries, timeout_s=LOOK_S)
    with contextlib.suppress(queue.Empty):
        _show(teller, entries, timeout_s=0.0)
    print(f"\n{tap.summary()}", flush=True)


def _faults(arguments: argparse.Namespace) -> list[tuple[float, str]]:
    found = []
    if arguments.cut_after is not None:
        found.append((arguments.cut_after, "cut"))
    if arguments.stall_after is not None:
        found.append((arguments.stall_after, "stall"))
        if arguments.heal_after is not None:
            found.append((arguments.stall_after + arguments.heal_after, "heal"))
    return sorted(found)


def _do(tap: Tap, fault: str, how: str) -> None:
    if fault == "cut":
        tap.cut(how)
        tap.heal()
    elif fault == "stall":
        tap.stall()
    else:
        tap.heal()


def _show(teller: Any, entries: queue.SimpleQueue[dict[str, Any]], *, timeout_s: float) -> None:
    """Print what is there, or comes within this time."""
    lines = []
    entry = entries.get(timeout=timeout_s) if timeout_s else entries.get_nowait()
    while True:
        if line := teller.line(entry):
            lines.append(line)
        try:
            entry = entries.get_nowait()
        except queue.Empty:
            break
    if lines:
        print("\n".join(lines), flush=True)


def _write(tap: Tap, arguments: argparse.Namespace) -> bool:
    """Write each file that was asked for; one that cannot be does not keep the others from it.

    Returns:
        whether all of them are where they should be.
    """
    secrets = arguments.with_secrets
    writers: list[tuple[str | None, Callable[[str | Path], Path]]] = [
        (arguments.out, tap.save),
        (arguments.html, tap.to_html),
        (arguments.har, lambda path: tap.run().to_har(path, with_secrets=secrets)),
        (arguments.pcapng, lambda path: tap.run().to_pcapng(path, with_secrets=secrets)),
    ]
    is_whole = True
    for path, write in writers:
        if not path:
            continue
        try:
            print(f"wrote {write(path)}", flush=True)
        except LabkitError as error:
            is_whole = False
            print(f"labkit: {error}", file=sys.stderr)
            with contextlib.suppress(LabkitError):
                print(f"wrote {write(Path(tempfile.mkdtemp(prefix='labkit-tap-')) / Path(path).name)} instead")
    return is_whole
