"""``python -m labkit measure``: a run as a table, a file and a page."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from labkit import files
from labkit.commands.headers import headers_of
from labkit.commands.publishing import add_source, schedule_of
from labkit.errors import AddressError, LabkitError, TLSFailed, package
from labkit.theory.path import QUIET_S

if TYPE_CHECKING:
    from labkit.measuring.run import Run

HELP = "measure techniques side by side, or somebody else's server"
SHOWN = ["events", "lost", "p50_ms", "p95_ms", "mean_ms", "expected_mean_ms", "bytes_per_event", "requests"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--techniques", metavar="A,B", help="which ones (default: all but the exhibits)")
    add_source(parser, "what is published (default: poisson): ")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long (default: %(default)s)")
    parser.add_argument("--one-way", type=float, default=0.05, metavar="S", help="one network transit (%(default)s s)")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="S", help="up to this much more (%(default)s s)")
    parser.add_argument("--poll-interval", type=float, default=1.0, metavar="S", help="of polling (%(default)s s)")
    parser.add_argument("--subscribers", type=int, default=1, metavar="N", help="of each technique (%(default)s)")
    parser.add_argument("--http", type=int, choices=(1, 2), metavar="1|2",
                        help="the version of HTTP (default: 1; at --url, over TLS, the server's choice)")  # fmt: skip
    parser.add_argument("--process", action="store_true", help="serve from a process of its own")
    parser.add_argument("--url", help="listen to this http(s), ws(s) or tcp address, not to a lab; needs --technique")
    parser.add_argument("--technique", help="which client to use with --url")
    parser.add_argument("--cafile", metavar="FILE", help="believe these authorities at --url, not the system's (PEM)")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE",
                        help="send this with each request to --url, such as a key; may be repeated")  # fmt: skip
    parser.add_argument("--insecure", action="store_true", help="believe any certificate at --url")
    parser.add_argument("--silence", type=float, default=QUIET_S, metavar="S",
                        help="connect to --url anew when it has said nothing for so long (%(default)s s)")  # fmt: skip
    parser.add_argument("--out", metavar="RUN.parquet", help="save the run")
    parser.add_argument("--html", metavar="PAGE.html", help="write a page with the table and the charts")


def run(arguments: argparse.Namespace) -> int:
    """Measure or listen, print the table and write what was asked for; 1 if the run has failures.

    Raises:
        LabkitError: ``--url`` without ``--technique``, a package is missing, or a file cannot be written where it is to
            be; nothing was measured then.
    """
    listens = arguments.url is not None
    if listens and not arguments.technique:
        raise LabkitError("--url needs --technique: which of the kit's clients to use; see `labkit techniques`")
    if arguments.technique and not listens:
        raise LabkitError("--technique goes with --url; of a lab, --techniques says which are measured")
    if arguments.header and not listens:
        raise LabkitError("--header goes with --url")
    for name in _needed(arguments):
        package(name)
    for path in filter(None, (arguments.out, arguments.html)):
        files.check(path)
    try:
        found = _listened(arguments) if listens else _measured(arguments)
    except (AddressError, TLSFailed) as error:  # nothing came from there, as from a port where nobody listens
        print(f"labkit: {error}", file=sys.stderr)
        return 1
    _print(found)
    if arguments.out:
        print(f"saved {found.save(arguments.out)}")
    if arguments.html:
        from labkit.commands.report import write_html

        print(f"wrote {write_html(found, arguments.html)}")
    return 1 if found.failures else 0


def _needed(arguments: argparse.Namespace) -> list[str]:
    """What the plain installation, which listens and prints, goes without."""
    asked = {"pandas": arguments.url is None or arguments.html, "pyarrow": arguments.out, "plotly": arguments.html}
    return [name for name, is_asked in asked.items() if is_asked]


def _listened(arguments: argparse.Namespace) -> Run:
    from labkit.measuring.listening import listen

    return listen(
        arguments.url,
        arguments.technique,
        seconds=arguments.seconds,
        silence_s=arguments.silence,
        cafile=arguments.cafile,
        insecure=arguments.insecure,
        headers=headers_of(arguments.header),
        http=arguments.http,
    )


def _measured(arguments: argparse.Namespace) -> Run:
    from labkit.lab.lab import Lab
    from labkit.measuring.measurement import measure

    schedule = schedule_of(arguments, arguments.seconds)
    names = arguments.techniques.split(",") if arguments.techniques else None
    http = arguments.http or 1
    with Lab("labkit measure", process=arguments.process, http=(1, 2) if http == 2 else (1,)) as lab:
        return measure(
            lab,
            names,
            schedule,
            one_way_s=arguments.one_way,
            poll_interval_s=arguments.poll_interval,
            subscribers=arguments.subscribers,
            jitter_s=arguments.jitter,
            http=http,
        )


def _print(run: Run) -> None:
    from labkit.measuring.rounding import rounded

    if run.foreign:
        _print_intervals(run)
    else:
        print(run.summary()[SHOWN].to_string(float_format=rounded, na_rep="-"))
    for note in run.notes:
        print(note)


def _print_intervals(run: Run) -> None:
    """The table of a server that is not ours, without pandas; nothing where nothing came, and the notes say why."""
    from labkit.measuring.rounding import rounded
    from labkit.measuring.summaries import INTERVALS, interval_rows

    rows = interval_rows(run)
    heads = [INTERVALS.get(name, name) for name in rows[0]] if rows else []
    cells = [["-" if v != v else rounded(v) if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in [heads, *cells] if rows else []:
        name, *figures = (text.rjust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join([name.strip().ljust(widths[0]), *figures]))
