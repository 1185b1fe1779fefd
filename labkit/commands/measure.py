"""``python -m labkit measure``: a run as a table, a file and a page."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from labkit.commands.publishing import add_source, schedule_of
from labkit.errors import AddressError, LabkitError

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
    parser.add_argument("--process", action="store_true", help="serve from a process of its own")
    parser.add_argument("--url", help="listen to this http, ws or tcp address, not to a lab; needs --technique")
    parser.add_argument("--technique", help="which client to use with --url")
    parser.add_argument("--out", metavar="RUN.parquet", help="save the run")
    parser.add_argument("--html", metavar="PAGE.html", help="write a page with the table and the charts")


def run(arguments: argparse.Namespace) -> int:
    """Measure or listen, print the table and write what was asked for; 1 if the run has failures.

    Raises:
        LabkitError: ``--url`` without ``--technique``.
    """
    if arguments.url and not arguments.technique:
        raise LabkitError("--url needs --technique: which of the kit's clients to use; see `labkit techniques`")
    try:
        found = _listened(arguments) if arguments.url else _measured(arguments)
    except AddressError as error:  # nothing came from there, as from a port where nobody listens
        print(f"labkit: {error}", file=sys.stderr)
        return 1
    _print(found)
    if arguments.out:
        print(f"saved {found.save(arguments.out)}")
    if arguments.html:
        from labkit.commands.report import write_html

        print(f"wrote {write_html(found, arguments.html)}")
    return 1 if found.failures else 0


def _listened(arguments: argparse.Namespace) -> Run:
    from labkit.measuring.listening import listen

    return listen(arguments.url, arguments.technique, seconds=arguments.seconds)


def _measured(arguments: argparse.Namespace) -> Run:
    from labkit.lab.lab import Lab
    from labkit.measuring.measurement import measure

    schedule = schedule_of(arguments, arguments.seconds)
    names = arguments.techniques.split(",") if arguments.techniques else None
    with Lab("labkit measure", process=arguments.process) as lab:
        return measure(
            lab,
            names,
            schedule,
            one_way_s=arguments.one_way,
            poll_interval_s=arguments.poll_interval,
            subscribers=arguments.subscribers,
            jitter_s=arguments.jitter,
        )


def _print(run: Run) -> None:
    from labkit.measuring.summaries import INTERVALS

    table = run.intervals().rename(columns=INTERVALS) if run.foreign else run.summary()[SHOWN]
    if not (run.foreign and table.empty):  # the notes say why nothing came
        print(table.to_string(float_format=lambda value: f"{value:,.1f}", na_rep="-"))
    for note in run.notes:
        print(note)
