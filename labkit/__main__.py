"""The command line: ``python -m labkit lab | serve | measure | verdicts | techniques``; also ``labkit``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.errors import AddressError, LabkitError

if TYPE_CHECKING:
    from labkit.measuring.run import Run
    from labkit.measuring.schedules import Schedule

SOURCES = "machine, periodic, poisson, burst, jobs, or trace FILE"
SHOWN = ["events", "lost", "p50_ms", "p95_ms", "mean_ms", "expected_mean_ms", "bytes_per_event", "requests"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except LabkitError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit", description="A Jupyter-native lab kit for server push.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    lab = commands.add_parser("lab", help="open JupyterLab on the first notebook")
    lab.add_argument("notebook", nargs="?", default="00_start_here.ipynb", help="which notebook (default: %(default)s)")
    lab.add_argument("--port", type=int, default=None, help="JupyterLab's port (default: a free one)")
    lab.add_argument("--no-browser", action="store_true", help="only print the address")
    lab.set_defaults(command=_lab)

    serve = commands.add_parser("serve", help="run a push server in the foreground, without a notebook")
    serve.add_argument("--port", type=int, default=0, help="HTTP port on 127.0.0.1 (default: a free one)")
    serve.add_argument("--plugin-port", type=int, default=0, help="plugin socket's port (default: a free one)")
    _add_source(serve, "publish by itself: ")
    serve.set_defaults(command=_serve, seconds=None)

    measure = commands.add_parser("measure", help="measure techniques side by side, or somebody else's server")
    measure.add_argument("--techniques", metavar="A,B", help="which ones (default: all but the exhibits)")
    _add_source(measure, "what is published (default: poisson): ")
    measure.add_argument("--seconds", type=float, default=8.0, help="how long (default: %(default)s)")
    measure.add_argument("--one-way", type=float, default=0.05, metavar="S", help="one network transit (%(default)s s)")
    measure.add_argument("--jitter", type=float, default=0.0, metavar="S", help="up to this much more (%(default)s s)")
    measure.add_argument("--poll-interval", type=float, default=1.0, metavar="S", help="of polling (%(default)s s)")
    measure.add_argument("--subscribers", type=int, default=1, metavar="N", help="of each technique (%(default)s)")
    measure.add_argument("--process", action="store_true", help="serve from a process of its own")
    measure.add_argument("--url", help="listen to this http, ws or tcp address, not to a lab; needs --technique")
    measure.add_argument("--technique", help="which client to use with --url")
    measure.add_argument("--out", metavar="RUN.parquet", help="save the run")
    measure.add_argument("--html", metavar="PAGE.html", help="write a page with the table and the charts")
    measure.set_defaults(command=_measure)

    verdicts = commands.add_parser("verdicts", help="run every notebook and write the verdict on every claim")
    verdicts.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="only these (default: all, about ten minutes)"
    )
    verdicts.add_argument("--out", default="verdicts", metavar="FOLDER", help="where to write (default: %(default)s)")
    verdicts.set_defaults(command=_verdicts)

    techniques = commands.add_parser("techniques", help="list the techniques and their routes")
    techniques.set_defaults(command=_techniques)
    return parser


def _add_source(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--source", nargs="+", metavar="SOURCE", help=what + SOURCES)
    parser.add_argument("--rate", type=float, default=5.0, help="events per second (default: %(default)s)")
    parser.add_argument("--payload-bytes", type=int, default=20, help="size of each event (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: %(default)s)")


def _schedule(arguments: argparse.Namespace, seconds: float) -> Schedule:
    from labkit.errors import ScheduleError
    from labkit.measuring import schedules

    name, *rest = arguments.source or ["poisson"]
    rate, size, seed = arguments.rate, arguments.payload_bytes, arguments.seed
    if (name == "trace") != (len(rest) == 1) or len(rest) > 1:
        raise ScheduleError(f"--source {' '.join([name, *rest])}: expected {SOURCES}")
    if name in ("machine", "burst") and rate <= 0:
        raise ScheduleError(f"--rate {rate:g}: expected a number above 0")
    made: dict[str, Any] = {
        "machine": lambda: schedules.machine(every_s=1 / rate, duration_s=max(seconds, 1 / rate)),
        "periodic": lambda: schedules.periodic(rate, seconds, size, seed=seed),
        "poisson": lambda: schedules.poisson(rate, seconds, size, seed=seed),
        "burst": lambda: schedules.burst(every_s=10 / rate, duration_s=seconds, payload_bytes=size),
        "jobs": lambda: schedules.jobs(rate, seconds, seed=seed),
        "trace": lambda: schedules.trace(rest[0]),
    }
    if name not in made:
        raise ScheduleError(f"--source {name}: expected {SOURCES}")
    schedule: Schedule = made[name]()
    return schedule


def _lab(arguments: argparse.Namespace) -> int:
    from labkit.commands.lab import open_lab

    return open_lab(arguments.notebook, browser=False if arguments.no_browser else None, port=arguments.port)


def _serve(arguments: argparse.Namespace) -> int:
    from labkit.commands.serve import serve

    schedule = _schedule(arguments, 1000.0) if arguments.source else None
    return serve(port=arguments.port, plugin_port=arguments.plugin_port, schedule=schedule)


def _measure(arguments: argparse.Namespace) -> int:
    from labkit.measuring.listening import listen
    from labkit.measuring.measurement import measure

    if arguments.url:
        if not arguments.technique:
            raise LabkitError("--url needs --technique: which of the kit's clients to use; see `labkit techniques`")
        try:
            run = listen(arguments.url, arguments.technique, seconds=arguments.seconds)
        except AddressError as error:  # nothing came from there, as from a port where nobody listens
            print(f"labkit: {error}", file=sys.stderr)
            return 1
    else:
        from labkit.lab.lab import Lab

        schedule = _schedule(arguments, arguments.seconds)
        names = arguments.techniques.split(",") if arguments.techniques else None
        with Lab("labkit measure", process=arguments.process) as lab:
            run = measure(
                lab,
                names,
                schedule,
                one_way_s=arguments.one_way,
                poll_interval_s=arguments.poll_interval,
                subscribers=arguments.subscribers,
                jitter_s=arguments.jitter,
            )
    _print(run)
    if arguments.out:
        print(f"saved {run.save(arguments.out)}")
    if arguments.html:
        from labkit.commands.report import write_html

        print(f"wrote {write_html(run, arguments.html)}")
    return 1 if run.failures else 0


def _print(run: Run) -> None:
    from labkit.measuring.summaries import INTERVALS

    table = run.intervals().rename(columns=INTERVALS) if run.foreign else run.summary()[SHOWN]
    if not (run.foreign and table.empty):  # the notes say why nothing came
        print(table.to_string(float_format=lambda value: f"{value:,.1f}", na_rep="-"))
    for note in run.notes:
        print(note)


def _verdicts(arguments: argparse.Namespace) -> int:
    from labkit.commands.verdicts import verdicts

    return verdicts(arguments.notebooks, arguments.out)


def _techniques(_: argparse.Namespace) -> int:
    from labkit.techniques import TECHNIQUES

    rows = [(t.name, t.route or "a TCP port of its own", t.spec, t.hint) for t in TECHNIQUES]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
