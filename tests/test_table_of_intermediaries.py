"""What `make intermediaries` says of a path: one word for what came, and how a quiet connection ended."""

from __future__ import annotations

import asyncio
import math
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from intermediaries import NAMES, Cell, least_late, quiet, row

DIRECT = Cell(50, 10.0, 0)


@pytest.mark.parametrize(
    ("cell", "polls", "word"),
    [
        (Cell(50, 12.0, 1), False, "through"),
        (Cell(50, 140.0, 0), False, "delayed"),
        (Cell(50, 110.0, 25), False, "batched"),
        (Cell(50, 12.0, 40), True, "through"),
        (Cell(41, 2100.0, 30), False, "batched, broken"),
        (Cell(49, 12.0, 0), False, "broken"),
        (Cell(50, 12.0, 0, disorder="1 twice"), False, "broken"),
        (Cell(0, math.nan, 0, "it never attached"), False, "nothing"),
        (Cell(0, math.nan, 0, "the server answered 400 Bad Request"), False, "refused (400)"),
    ],
)
def test_one_word_says_what_came(cell: Cell, polls: bool, word: str) -> None:
    assert cell.word(DIRECT, polls=polls) == word


def test_a_line_has_a_cell_for_each_technique() -> None:
    found = {name: Cell(50, 12.4, 0) for name in NAMES} | {"sse": Cell(0, math.nan, 0)}
    cells = row("nginx, default", "1.22.1", found, dict.fromkeys(NAMES, DIRECT), "60 s").strip("| ").split(" | ")
    assert len(cells) == len(NAMES) + 3
    assert (cells[0], cells[2], cells[2 + NAMES.index("sse")]) == ("nginx, default", "50, 12 ms, through", "0, nothing")


def test_a_path_that_was_late_is_measured_again_three_times_at_most() -> None:
    direct = dict.fromkeys(NAMES, DIRECT)
    late, slow, good = ({name: Cell(50, ms, 0) for name in NAMES} for ms in (300.0, 200.0, 12.0))
    slow["sse"] = DIRECT
    assert least_late(iter([good, late]), direct) is good
    assert least_late(iter([late, good, late]), direct) is good
    assert least_late(iter([late, slow, late, good]), direct) is slow


@pytest.mark.parametrize(
    ("answer", "word"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", "none"), (b"HTTP/1.1 400 Bad\r\n\r\n", "refused (400)"), (None, "ended at once")],
)
def test_how_a_quiet_connection_ended_is_a_word(answer: bytes | None, word: str) -> None:
    def serve() -> None:
        with listening.accept()[0] as sock:
            sock.recv(65536)
            if answer is not None:
                sock.sendall(answer)
                sock.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        served = pool.submit(serve)
        assert asyncio.run(quiet(listening.getsockname(), "GET / HTTP/1.1\r\n", 0.3)) == word
        served.result()
