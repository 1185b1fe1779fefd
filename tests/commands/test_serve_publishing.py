"""What `labkit serve --source` publishes: within the server's limits, and what is not is said once."""

from __future__ import annotations

import threading

import pytest

from labkit.commands.serve import _publish
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.measuring.schedules import Planned, Schedule
from wait import until


def test_what_the_server_does_not_take_is_said_once_and_the_rest_is_published(
    capsys: pytest.CaptureFixture[str],
) -> None:
    planned = [
        Planned(0.0, "x" * 101),
        Planned(0.0, "x" * 102),
        Planned(0.0, "to nobody", "t" * 257),
        Planned(0.0, "a lone \ud800"),
        Planned(0.01, "good"),
    ]
    with Lab("serving", max_event_bytes=100) as lab:
        assert isinstance(lab._server, Server)
        ended = threading.Event()
        schedule = Schedule("planned", {}, 0.02, None, False, lambda: iter(planned))
        thread = threading.Thread(target=_publish, args=(lab._server, schedule, ended))
        thread.start()
        try:
            until(lambda: lab.cursor().startswith("3@"), "it goes on")
        finally:
            ended.set()
            thread.join()
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["not published"] * 3
    assert "at most 100 bytes" in said[0] and "topic: at most 256 bytes" in said[1] and "lone surrogate" in said[2]
