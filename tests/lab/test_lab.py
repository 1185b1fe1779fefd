"""A lab in the kernel: re-running its cell, closing it from anywhere, publishing from anywhere, leaving nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from conftest import UNIT, Held
from labkit import loop
from labkit.errors import DurationError, EventTooLarge, LabClosed, LabkitError, UnknownTechnique
from labkit.lab.lab import Lab
from labkit.techniques import TECHNIQUES
from test_loop import script
from wait import until

TIMEOUT_S = 10 * UNIT


def get(port: int, target: str = "/polling?after=0") -> bytes:
    """One answer, from a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        raw = b""
        while data := sock.recv(1 << 16):
            raw += data
        return raw


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()
    except ConnectionRefusedError:
        return True
    return False


# -- running the cell again -------------------------------------------------------------------------------------------


def test_a_lab_of_the_same_name_takes_over_both_ports_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    first = Lab("again")
    first.publish("old")
    with Lab("again") as second:
        assert second.ports == first.ports and second.id != first.id
        out = capsys.readouterr().out
        assert out.count("\n") == 1 and "'again'" in out and first.url in out
        assert first.closed and not second.closed
        with pytest.raises(LabClosed, match="again"):
            first.publish("x")
        assert second.publish("new") == 1
        assert b'"data":"new"' in get(second.port) and b'"old"' not in get(second.port)
    assert refused(first.port) and refused(first.plugin_port)


def test_a_fixed_port_is_taken_over_like_any_other() -> None:
    with Lab("fixed") as first:
        pass
    with Lab("fixed", port=first.port) as second, Lab("fixed", port=first.port) as third:
        assert second.closed and third.port == first.port
        assert get(third.port).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("fixed", [False, True])
def test_while_a_lab_is_replaced_no_client_is_refused(fixed: bool) -> None:
    lab = Lab("busy")
    stop, answers, faults = threading.Event(), [0], list[str]()

    def connect_again_and_again() -> None:
        while not stop.is_set():
            try:
                answers[0] += get(lab.port).startswith(b"HTTP/1.1 200")
            except ConnectionRefusedError as error:
                faults.append(str(error))
            except ConnectionError:  # it was being answered by the one that was replaced
                pass

    threads = [threading.Thread(target=connect_again_and_again) for _ in range(3)]
    for thread in threads:
        thread.start()
    labs = [Lab("busy", port=lab.port if fixed else 0) for _ in range(10)]
    with labs[-1]:
        before = answers[0]
        while answers[0] < before + 5:
            time.sleep(0.001)
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == [] and {each.port for each in labs} == {lab.port}


def test_a_subscriber_of_the_replaced_lab_is_told_by_a_gap() -> None:
    with Lab("told") as first:
        first.publish("a")
        cursor = first.cursor()
        with Lab("told") as second:
            second.publish("b")
            answer = get(second.port, f"/polling?after={cursor}")
            assert b'"data":"b"' in answer and f'"gap":{{"after":"{cursor}","next":1}}'.encode() in answer


def test_two_names_are_two_labs_at_once() -> None:
    with Lab("one") as one, Lab("two") as two:
        assert len({*one.ports.values(), *two.ports.values()}) == 4
        assert one.publish("to one") == 1 and two.cursor().startswith("0@")
        assert not one.closed


def test_a_port_in_use_is_one_clear_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for which in ("port", "plugin_port"):
            with pytest.raises(LabkitError, match=rf"port {port} is in use") as caught:
                Lab("port taken", **{which: port})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
def test_what_is_no_port_is_one_clear_error(port: int) -> None:
    with pytest.raises(LabkitError, match=str(port)):
        Lab("no port", port=port)


def test_a_port_that_is_in_use_leaves_the_name_free() -> None:
    with Lab("other") as other:
        with pytest.raises(LabkitError, match=f"port {other.port}"):
            Lab("wants it", port=other.port)
        with Lab("wants it") as lab:
            assert lab.publish("x") == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"slow": "drop"}, ValueError),
        ({"queue": 0}, ValueError),
        ({"fanout": ""}, ValueError),
        ({"x": 1}, TypeError),
        ({"send_buffer_bytes": 0}, ValueError),
        ({"send_buffer_bytes": 1 << 40}, ValueError),
        ({"heartbeat_s": 0}, DurationError),  # each idle stream would be written to without end
        ({"heartbeat_s": None}, DurationError),
        ({"heartbeat_s": 90_000}, DurationError),
        ({"hold_s": "30"}, DurationError),
        ({"hold_s": 30_000}, DurationError),
        ({"write_timeout_s": -1}, DurationError),
        ({"max_connections": "3"}, ValueError),
        ({"max_connections": 0}, ValueError),
        ({"max_event_bytes": 0}, ValueError),
        ({"history_events": "x"}, ValueError),
    ],
)
def test_a_bad_option_leaves_the_running_lab_as_it_is(options: dict[str, object], error: type[Exception]) -> None:
    with Lab("kept") as lab:
        with pytest.raises(error, match=next(iter(options))):
            Lab("kept", **options)
        assert lab.publish("still here") == 1 and get(lab.port).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("technique", ["sse", "plugin-socket"])
def test_a_small_send_buffer_holds_less_for_a_subscriber_that_takes_nothing(technique: str) -> None:
    arrived = {}
    for size in (16 << 10, 4 << 20):
        with Lab("held", queue=4, send_buffer_bytes=size) as lab, socket.socket() as client:
            client.settimeout(TIMEOUT_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", lab.port if technique == "sse" else lab.plugin_port))
            client.sendall(
                b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n" if technique == "sse" else b'{"subscribe": {}}\0'
            )
            until(lambda: lab.stats()["subscribers"] == 1)
            for _ in range(60):
                lab.publish("x" * 10_000)
                loop.run(asyncio.sleep(0))  # what the system takes is taken before the next
            lab.publish("last")
            received = b""
            while b"last" not in received:
                received += client.recv(1 << 16)
            arrived[size] = received.count(b"x" * 10_000)
    assert arrived[16 << 10] < arrived[4 << 20] / 2


def test_an_unknown_technique_lists_the_known_ones() -> None:
    with pytest.raises(UnknownTechnique, match="long-polling"):
        Lab("unknown", techniques=["comet"])
    with Lab("known", techniques=["sse"]) as lab:
        assert [t.name for t in lab.techniques] == ["sse"]
        assert get(lab.port, "/polling").startswith(b"HTTP/1.1 404")
        with pytest.raises(UnknownTechnique, match="known are: sse"):
            lab.url_of("polling")


def test_a_learners_own_technique_is_served_beside_the_others() -> None:
    mine = replace(TECHNIQUES[0], name="mine", route="/mine")
    with Lab("learner", techniques=(*TECHNIQUES, mine)) as lab:
        lab.publish("x")
        assert b'"data":"x"' in get(lab.port, "/mine?after=0")
        assert lab.url_of("mine") == f"{lab.url}/mine"
        assert "/mine" in lab._repr_html_()


def test_twenty_re_creations_leave_what_one_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    def settled() -> Held:
        loop.run(asyncio.sleep(0.05))
        return Held.now()

    def counts(held: Held) -> tuple[int, ...]:
        return tuple(sum(kind.values()) for kind in (held.threads, held.descriptors, held.children, held.tasks))

    lab = Lab("twenty")
    lab.publish("x")
    one = counts(settled())
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            lab = Lab("twenty")
            lab.publish("x")
            client = stack.enter_context(socket.create_connection(("127.0.0.1", lab.port)))
            client.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.recv(1 << 16)
    Lab("twenty").publish("x")
    assert counts(settled()) == one
    assert len(capsys.readouterr().out.splitlines()) == 21
    Lab("twenty").close()


# -- closing ----------------------------------------------------------------------------------------------------------


def test_a_closed_lab_raises_lab_closed_and_the_second_close_does_nothing() -> None:
    lab = Lab("closed")
    lab.close()
    lab.close()
    assert lab.closed and "closed" in repr(lab)
    with pytest.raises(LabClosed, match="start another"):
        lab.publish("x")
    with pytest.raises(LabClosed):
        asyncio.run(lab.publish_and_wait("x"))


def test_with_closes_even_when_its_body_fails() -> None:
    with pytest.raises(ZeroDivisionError), Lab("with") as lab:
        raise ZeroDivisionError
    assert lab.closed and refused(lab.port)


def test_async_with_on_another_loop_and_on_the_lab_loop() -> None:
    async def main() -> Lab:
        async with lab:
            lab.publish("x")
        return lab

    lab = Lab("async")
    assert asyncio.run(main()).closed
    lab = Lab("async")
    assert loop.run(main()).closed and refused(lab.port)


def test_closing_on_the_lab_loop_says_what_to_do_and_closes_nothing() -> None:
    async def close() -> None:
        lab.close()

    with Lab("on the loop") as lab:
        with pytest.raises(RuntimeError, match="aclose"):
            loop.run(close())
        assert lab.publish("x") == 1 and not lab.closed


def test_many_threads_may_close_at_once() -> None:
    lab = Lab("many")
    threads = [threading.Thread(target=lab.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused(lab.port)


def test_close_ends_every_stream_and_parked_poll() -> None:
    with contextlib.ExitStack() as stack:
        lab = Lab("streams")
        for target in ("/long-polling", "/http-streaming", "/sse", "/http-streaming?format=multipart"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S))
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            stack.callback(lambda sock=sock: list(iter(lambda: sock.recv(1 << 16), b"")))  # ends, or times out
        while lab.stats()["subscribers"] < 4:
            time.sleep(0.001)
        lab.close()


def test_an_interrupt_while_closing_does_not_leave_it_half_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("interrupted")
    hub = lab._server.hub  # type: ignore[union-attr]
    close = hub.close

    def close_slowly() -> None:
        hub.subscribe("", None, lambda item, epoch: b"")
        lab._server.context.exchanges += 1  # type: ignore[union-attr]  # one that does not end: the whole grace is taken
        os.kill(os.getpid(), signal.SIGINT)
        close()

    monkeypatch.setattr(hub, "close", close_slowly)
    with socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1 << 16)
        with pytest.raises(KeyboardInterrupt):
            lab.close()
        while sock.recv(1 << 16):  # ends, or times out
            pass
    assert lab.closed and refused(lab.port)


@pytest.mark.parametrize("more", ["", "time.sleep(0.1)\n", "labkit.loop.submit(read())\ntime.sleep(0.2)\n"])
def test_an_interpreter_that_ends_without_close_is_silent(more: str) -> None:
    done = script(
        "import asyncio, time, labkit\n"
        "lab = labkit.Lab()\n"
        "other = labkit.Lab('other', process=True)\n"
        "lab.publish('x')\n"
        "async def read():\n"
        "    async for item in labkit.TECHNIQUES[3].connect(lab.url_of('sse'), after='0'): pass\n" + more
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_interpreter_that_ends_by_an_error_shows_only_that() -> None:
    done = script("import labkit\nlab = labkit.Lab()\nraise SystemExit(3)\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_does_not_touch_the_parents_lab() -> None:
    done = script(
        "import os, sys, urllib.request, labkit\n"
        "lab, elsewhere = labkit.Lab(), labkit.Lab('elsewhere', process=True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    for each in (lab, elsewhere):\n"
        "        try:\n"
        "            each.publish('from the child')\n"
        "        except labkit.errors.LabClosed:\n"
        "            continue\n"
        "        sys.exit(1)\n"
        "    with labkit.Lab() as own:\n"
        "        sys.exit(7 if own.port != lab.port and own.publish('own') == 1 else 2)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "for each in (lab, elsewhere):\n"
        "    assert each.publish('x') == 1\n"
        "    assert b'\"x\"' in urllib.request.urlopen(each.url + '/polling?after=0', timeout=10).read()\n"
        "print('both')\n",
        python=("-W", "error", "-W", "ignore::DeprecationWarning"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "both\n", "")


# -- publishing -------------------------------------------------------------------------------------------------------


def in_a_thread(publish: Callable[[str], int]) -> int:
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(publish("x")))
    thread.start()
    thread.join()
    return got[0]


def in_a_coroutine(publish: Callable[[str], int]) -> int:
    async def main() -> int:
        return publish("x")

    return asyncio.run(main())


def on_the_lab_loop(publish: Callable[[str], int]) -> int:
    async def main() -> int:
        return publish("x")

    return loop.run(main())


@pytest.mark.parametrize("how", [lambda publish: publish("x"), in_a_thread, in_a_coroutine, on_the_lab_loop])
def test_publish_is_a_plain_function_everywhere(how: Callable[[Callable[[str], int]], int]) -> None:
    with Lab("everywhere") as lab:
        assert [how(lab.publish) for _ in range(3)] == [1, 2, 3]
        assert get(lab.port).count(b'"data":"x"') == 3


def test_publish_stamps_before_any_lock_and_returns_ids_of_its_topic() -> None:
    with Lab("stamps") as lab:
        events = [lab.publish_event("x", topic) for topic in ("a", "b", "a")]
        assert [event.id for event in events] == [1, 1, 2]
        assert [e.published_ns for e in events] == sorted(e.published_ns for e in events)
        assert lab.cursor("a").startswith("2@") and lab.cursor("nothing").startswith("0@")


@pytest.mark.parametrize("data", [None, 17, {"a": 1}, ["x"], bytearray(b"x"), memoryview(b"x")])
def test_other_data_is_a_type_error_that_says_what_to_do(data: object) -> None:
    with Lab("types") as lab:
        with pytest.raises(TypeError, match=type(data).__name__):
            lab.publish(data)  # type: ignore[arg-type]
        assert lab.publish("next") == 1


def test_a_topic_that_is_no_text_is_a_type_error_and_a_long_one_is_refused() -> None:
    with Lab("topics") as lab:
        with pytest.raises(TypeError, match="topic"):
            lab.publish("x", 3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="topic"):
            lab.publish("x", "t" * 257)
        with pytest.raises(ValueError, match="topic"):
            lab.publish("x", "\ud83d")
        assert lab.publish("x", "t" * 256) == 1


def test_a_lone_surrogate_is_one_clear_error_and_takes_no_id() -> None:
    with Lab("surrogate") as lab:
        with pytest.raises(ValueError, match="lone surrogate"):
            lab.publish("broken \ud83d emoji")
        assert lab.publish("whole 😀") == 1


def test_an_event_over_the_limit_is_refused_and_takes_no_id() -> None:
    with Lab("limit", max_event_bytes=10) as lab:
        assert lab.publish("x" * 10) == 1
        for data in ("x" * 11, b"x" * 11, "한" * 4):
            with pytest.raises(EventTooLarge, match="max_event_bytes"):
                lab.publish(data)
        assert lab.publish(b"\xff" * 10) == 2


def test_publish_never_waits_for_a_subscriber_that_does_not_read() -> None:
    with Lab("never waits", queue=4) as lab, socket.create_connection(("127.0.0.1", lab.port)) as sock:
        sock.sendall(b"GET /http-streaming HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1 << 16)
        data = "x" * 100_000
        assert [lab.publish(data) for _ in range(300)] == list(range(1, 301))
        assert get(lab.port, "/polling").startswith(b"HTTP/1.1 200")


def test_publish_and_wait_waits_for_subscribers_from_any_loop() -> None:
    with Lab("waits") as lab, socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"GET /http-streaming HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1 << 16)
        assert asyncio.run(lab.publish_and_wait("a")) == 1
        assert loop.run(lab.publish_and_wait("b")) == 2
        assert lab.stats()["delivered"] == 2
        assert asyncio.run(lab.publish_and_wait("nobody listens", "elsewhere")) == 1


def test_publish_and_wait_ends_when_the_lab_does() -> None:
    with Lab("ends", slow="unbounded") as lab, socket.create_connection(("127.0.0.1", lab.port)) as sock:
        sock.sendall(b"GET /http-streaming HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1 << 16)
        for _ in range(100):
            lab.publish("x" * 1_000_000)  # more than the system's buffers take

        async def main() -> None:
            waiting = asyncio.ensure_future(lab.publish_and_wait("last"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await lab.aclose()
            with pytest.raises(LabClosed):
                await waiting

        asyncio.run(main())


def test_a_lab_shows_where_it_is_and_has_no_process_of_its_own() -> None:
    with Lab("<shows>") as lab:
        assert lab.pid is None and lab.usage() is None
        assert lab.url in repr(lab) and "this kernel" in repr(lab)
        assert "&lt;shows&gt;" in lab._repr_html_() and lab.url_of("sse") in lab._repr_html_()


def test_starting_a_lab_starts_no_process() -> None:
    with Lab("no process"):
        assert psutil.Process().children() == []
