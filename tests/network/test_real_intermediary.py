"""Programs of others between client and lab: started, said to be missing, and never left behind.

Most tests keep a small server of their own in the place of a program, which misbehaves on demand. Those that need a
real one are skipped where it is not installed; LABKIT_REQUIRE_PROGRAMS names those that must be (tests/conftest.py).
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import labkit
from conftest import UNIT
from labkit.errors import LabkitError
from labkit.network import real_intermediary as module
from labkit.network.programs import PROGRAMS
from labkit.network.programs import program as programs
from labkit.network.programs.program import Program
from labkit.network.real_intermediary import RealIntermediary

ROOT = os.geteuid() == 0
PYTHON = "/usr/bin/python3" if ROOT else sys.executable  # as nobody, who may not see this one's library
CONFIGS = ("default", "recommended")
HTTP = ["polling", "long-polling", "http-streaming", "sse", "websocket"]

SERVER = """
import os, signal, socket, sys, time
if os.fork() == 0:  # a worker that does not end when it is asked to
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
print("about to listen on @port@ for @target@")
time.sleep(@late_s@)
with socket.create_server(("127.0.0.1", @port@)) as server:
    while True:
        server.accept()[0].close()
"""


def fake(text: str = SERVER, *, late_s: float = 0.0) -> RealIntermediary:
    """A program made for a test, run by Python."""
    text = text.replace("@late_s@", str(late_s))
    program = Program("fake", (PYTHON,), "server.py", ("-u", "@folder@/server.py"), text, text, "nobody can", ("-V",))
    return RealIntermediary(program, ("127.0.0.1", 9), "default")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: str(tmp_path))


def real(name: str, *args: Any, **options: Any) -> RealIntermediary:
    """A real one; skips the test where it is not installed."""
    if missing := RealIntermediary(PROGRAMS[name], None, "default").missing:
        pytest.skip(missing)
    return labkit.real_intermediary(name, *args, **options)


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def all_gone(pids: list[int]) -> bool:
    """Whether they have ended. An orphan whose init reaps nobody stays a zombie."""
    left = [p for p in map(as_process, pids) if p is not None and p.status() != psutil.STATUS_ZOMBIE]
    return not left


def as_process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def comes_true(condition: Callable[[], bool], within_s: float = 15 * UNIT) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# What is known without starting anything


def test_an_unknown_program_or_configuration_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'ngnix'; known: nginx, haproxy, squid, varnish, caddy, apache, lighttpd"):
        labkit.real_intermediary("ngnix")
    with pytest.raises(ValueError, match="default, recommended, not 'best'"):
        labkit.real_intermediary("nginx", config="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_configuration_can_be_read_before_anything_is_started(name: str, nothing_installed: None) -> None:
    texts = {c: labkit.real_intermediary(name, config=c).configuration for c in CONFIGS}  # type: ignore[arg-type]
    assert texts["default"] != texts["recommended"]
    for text in texts.values():
        words = {*re.findall(r"@(\w+)@", text + " ".join(PROGRAMS[name].arguments))}
        assert "port" in words and words & {"target", "target_host"}
        assert words <= {"port", "target", "target_host", "target_port", "folder"}


EDGES = [name for name, program in PROGRAMS.items() if program.edge]


def test_an_edge_of_http2_is_known_of_some_and_refused_of_others() -> None:
    assert EDGES == ["nginx", "haproxy", "caddy", "traefik"]
    for name in EDGES:
        clear, secure = (labkit.real_intermediary(name, http=http).configuration for http in (1, 2))
        assert "identity.pem" in secure and "identity.pem" not in clear
    with pytest.raises(
        ValueError, match="squid as an edge of HTTP/2: known are HTTP/2 with nginx, haproxy, caddy, traefik"
    ):
        labkit.real_intermediary("squid", http=2)
    with pytest.raises(ValueError, match="nginx as an edge of HTTP/3"):
        labkit.real_intermediary("nginx", http=3)


@pytest.mark.skipif(shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no nginx")
def test_a_run_through_an_edge_of_http2_is_refused_before_it_begins() -> None:
    with labkit.Lab("behind an edge") as lab, labkit.real_intermediary("nginx", lab, http=2) as edge:
        for http in (1, 2):
            with pytest.raises(LabkitError, match=r"HTTP/2 edge\) speaks TLS to its clients, .* --url URL --cafile"):
                labkit.measure(lab, ["sse"], through=edge, http=http, progress=False)


@pytest.mark.parametrize("name", EDGES)
def test_a_real_edge_offers_both_versions_over_tls_and_leaves_no_file(name: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    with labkit.Lab("edge") as lab, real(name, lab, http=2) as front:
        cafile, ask = front.cafile, [curl, "-sS", "--noproxy", "*", "--cacert", front.cafile, "-o", os.devnull, "-w"]
        assert front.url.startswith("https://") and "HTTP/2 edge" in repr(front) and front.fingerprint
        for version in ("2", "1.1"):
            command = [*ask, "%{http_version} %{http_code}", f"--http{version}", f"{front.url}/polling?after=0"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=20 * UNIT)
            assert said.stdout == f"{version} 200", said.stderr
    assert front.cafile is None and not Path(str(cafile)).exists()


# Missing


def test_what_is_missing_says_how_to_install_it_and_has_no_address(nothing_installed: None) -> None:
    with labkit.Lab("missing") as lab, labkit.real_intermediary("nginx", lab) as nginx:
        assert nginx.missing == "nginx is not installed: apt install nginx, or brew install nginx"
        assert "nginx is not installed" in repr(nginx)
        assert (nginx.running, nginx.ports, nginx.version, nginx.log()) == (False, {}, "", "")
        for ask in (lambda: nginx.address, lambda: nginx.url, nginx.start):
            with pytest.raises(LabkitError, match="nginx is not installed: apt install"):
                ask()


@pytest.mark.parametrize("how", ["alone", "behind a link", "bound", "behind a bound link"])
def test_a_run_through_what_is_missing_is_not_run_and_says_why(nothing_installed: None, how: str) -> None:
    with labkit.Lab("missing") as lab:
        nginx = labkit.real_intermediary("nginx", lab if "bound" in how else None)
        link = labkit.Link(nginx if how == "behind a bound link" else None)
        through = {"alone": nginx, "bound": nginx, "behind a bound link": link}.get(how, [link, nginx])
        run = labkit.measure(lab, ["sse", "polling"], labkit.burst(2, 0.1, 0.1), through=through, progress=False)
        assert not link.running
    assert run.failures == dict.fromkeys(["sse", "polling"], f"not run: {nginx.missing}")
    assert run.summary()["events"].tolist() == [0, 0]


def test_a_page_through_what_is_missing_has_ended_at_once(nothing_installed: None) -> None:
    pytest.importorskip("anywidget")
    with labkit.Lab("missing") as lab:
        subscriber = labkit.BrowserSubscriber(lab, "sse", through=labkit.real_intermediary("nginx", lab))
        assert "not run: nginx is not installed" in repr(subscriber)
        assert lab.attached == []
        subscriber.close()


def test_on_windows_it_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    nginx = labkit.real_intermediary("nginx")
    monkeypatch.setattr(sys, "platform", "win32")
    assert nginx.missing.startswith("nginx is not started on Windows: ")


# Starting and ending


def test_it_is_started_at_once_in_front_of_a_target_and_leaves_nothing() -> None:
    program = fake()
    with program:
        folder, pids = program._watched.folder, [each.pid for each in family(program.pid)]  # type: ignore[union-attr]
        assert len(pids) == 2
        assert (folder / "server.py").read_text() == program.configuration
        assert "127.0.0.1:9" in program.log() and f"listen on {program.address[1]}" in program.log()
        assert program.url == f"http://127.0.0.1:{program.ports['http']}"
        socket.create_connection(program.address, 5 * UNIT).close()
        assert program.start() is program and [each.pid for each in family(program.pid)] == pids
    program.close()
    assert not folder.exists() and all_gone(pids)
    assert not program.running and program.ports == {}
    assert "listen on" in program.log()


def test_it_runs_as_nobody_where_the_user_is_root_and_as_the_user_elsewhere() -> None:
    wanted = pwd.getpwnam("nobody").pw_uid if ROOT else os.getuid()
    with fake() as program:
        assert {uid for each in family(program.pid) for uid in each.uids()} == {wanted}


@pytest.mark.skipif(not (ROOT and sys.platform == "linux"), reason="needs root, and the /proc of Linux")
def test_a_program_in_a_folder_that_is_roots_alone_is_started_all_the_same(tmp_path: Path) -> None:
    hidden = Path(shutil.copy(PYTHON, tmp_path / "python"))
    tmp_path.chmod(0o700)
    program = fake()
    program.program = replace(program.program, executables=(str(hidden),))
    with program:
        assert psutil.Process(program.pid).exe() == str(hidden)


def test_async_with_starts_and_ends_it() -> None:
    async def enter() -> list[int]:
        async with fake() as program:
            return [each.pid for each in family(program.pid)]

    assert all_gone(asyncio.run(enter()))


def test_what_does_not_come_up_says_so_with_the_last_lines_of_its_log() -> None:
    program = fake("for n in range(30): print('line', n)\nraise SystemExit('bad configuration')")
    with pytest.raises(LabkitError, match=r"fake [\d.]+ has ended at once") as failure:
        program.start()
    assert "line 29\nbad configuration" in str(failure.value) and "line 9\n" not in str(failure.value)
    assert not program.running


def test_what_takes_no_connections_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UP_S", 0.3)
    with pytest.raises(LabkitError, match=r"takes no connections after 0.3 s.*\nabout to listen"):
        fake(late_s=3600).start()


def test_a_program_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    program = RealIntermediary(Program("broken", (str(broken),), "f", (), "", "", ""), ("127.0.0.1", 9), "default")
    with pytest.raises(LabkitError, match="broken cannot be started: OSError"):
        program.start()


@pytest.mark.parametrize("late_s", [0.0, 0.3])
def test_another_server_on_the_port_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, late_s: float) -> None:
    free = module._free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = iter([other.getsockname()[1], free])
        monkeypatch.setattr(module, "_free_port", lambda: next(ports))
        with fake(late_s=late_s) as program:
            assert program.address[1] == free


def test_one_that_has_ended_by_itself_is_not_running_and_can_be_started_again() -> None:
    with fake() as program:
        pids = [each.pid for each in family(program.pid)]
        os.kill(pids[0], signal.SIGKILL)
        assert comes_true(lambda: not program.running) and comes_true(lambda: all_gone(pids))
        with pytest.raises(LabkitError, match="no address"):
            _ = program.address
        assert program.start().pid != pids[0]


def test_where_the_watchdog_was_killed_closing_does_its_work() -> None:
    with fake() as program:
        watched, pids = program._watched, [each.pid for each in family(program.pid)]
        assert watched is not None
        os.kill(watched._watchdog.pid, signal.SIGKILL)
    assert not watched.folder.exists() and comes_true(lambda: all_gone(pids))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs run as somebody else")
def test_where_nobody_comes_into_root_s_temporary_folder_it_has_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(own))
    with fake() as program:
        assert program._watched is not None and own not in program._watched.folder.parents


def test_it_cannot_be_bound_while_it_runs_and_must_be_last_where_it_is() -> None:
    with labkit.Lab("bound") as lab, fake() as program:
        with pytest.raises(LabkitError, match="fake is running: close"):
            program.bind(None)
        with pytest.raises(ValueError, match="fake already has a target, so it must be the last"):
            labkit.measure(lab, ["sse"], through=[program, labkit.Link()])


# After a SIGKILL, an interrupt and a fork of the parent

PARENT = """
import os, socket, sys, time
sys.path[:0] = {path!r}
import labkit
from test_real_intermediary import PROGRAMS, fake, family, labkit
if __name__ == "__main__":
    lab = labkit.Lab("parent")
    program = fake().start() if {name!r} == "fake" else labkit.real_intermediary({name!r}, lab)
    print(program._watched.folder, *(each.pid for each in family(program.pid)), flush=True)
    {rest}
"""


def parent(name: str, rest: str) -> subprocess.Popen[str]:
    """A process that has started the program, printed its folder and its processes, and does *rest*."""
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    code = PARENT.format(path=path, name=name, rest=textwrap.indent(textwrap.dedent(rest), "    ").lstrip())
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)


def told(process: subprocess.Popen[str]) -> tuple[Path, list[int]]:
    assert process.stdout is not None
    folder, *pids = process.stdout.readline().split()
    return Path(folder), [int(pid) for pid in pids]


@pytest.mark.parametrize("name", ["fake", "nginx"])
def test_nothing_is_left_after_a_sigkill_of_the_parent(name: str) -> None:
    if name != "fake":
        real(name)
    with parent(name, "time.sleep(3600)") as process:
        folder, pids = told(process)
        assert folder.exists() and len(pids) >= 1 and not any(map(lambda pid: all_gone([pid]), pids))
        process.kill()
    assert comes_true(lambda: all_gone(pids) and not folder.exists())


def test_a_forked_child_of_the_parent_does_not_keep_it_alive() -> None:
    with parent("fake", "child = os.fork()\nprint(child or '', flush=True)\ntime.sleep(3600)") as process:
        folder, pids = told(process)
        assert process.stdout is not None
        child = next(int(line) for line in process.stdout if line.strip())
        process.kill()
        try:
            assert comes_true(lambda: all_gone(pids) and not folder.exists())
            assert not all_gone([child])
        finally:
            os.kill(child, signal.SIGKILL)


def test_an_interrupt_of_the_parent_does_not_reach_it() -> None:
    rest = """
        try:
            print("waiting", flush=True)
            time.sleep(3600)
        except KeyboardInterrupt:
            socket.create_connection(program.address, 5).close()
            print(program.running, [each.is_running() for each in family(program.pid)])
        """
    with parent("fake", rest) as process:
        told(process)
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "True [True, True]\n"
    assert process.returncode == 0


# Real ones


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("real") as lab:
        yield lab


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_recommended_configuration_lets_every_technique_through(lab: labkit.Lab, name: str) -> None:
    through = real(name, config="recommended")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)*", through.version)
    techniques, schedule = [*HTTP, "plugin-socket"], labkit.periodic(20, 0.5)
    run = labkit.measure(lab, techniques, schedule, poll_interval_s=0.1, through=through, progress=False)
    assert run.failures == {"plugin-socket": "not run: the path has no port for it"}
    table = run.summary().drop(index="plugin-socket")
    assert table["events"].tolist() == [10] * 5 and table["lost"].sum() == table["out_of_order"].sum() == 0
    assert [each["name"] for each in run.settings["path"]] == [f"{name} {through.version} (recommended)"]
    assert not through.running and through.target is None


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_it_stands_between_two_links(lab: labkit.Lab, name: str) -> None:
    through = [labkit.Link(one_way_s=0.01), real(name, config="recommended"), labkit.Link(one_way_s=0.02)]
    run = labkit.measure(lab, ["sse", "websocket"], labkit.periodic(20, 0.5), through=through, progress=False)
    assert run.failures == {} and run.summary()["lost"].tolist() == [0, 0]
    assert run.settings["one_way_s"] == pytest.approx(0.03) and len(run.settings["path"]) == 3


def test_a_default_nginx_refuses_websocket_and_a_run_says_so(lab: labkit.Lab) -> None:
    with real("nginx", lab) as nginx:
        run = labkit.measure(lab, ["websocket", "polling"], labkit.burst(1, 0.1, 0.1), through=nginx, progress=False)
        assert nginx.running
        assert f"proxy_pass http://127.0.0.1:{lab.port};" in nginx.configuration
    assert re.search(r"answered 4\d\d", run.failures["websocket"]) and "polling" not in run.failures


def test_what_nginx_says_of_a_wrong_configuration_is_in_the_error() -> None:
    nginx = real("nginx")
    nginx.program = replace(nginx.program, default="daemon maybe;\n")
    with pytest.raises(LabkitError, match=r'invalid value "maybe" in "daemon" directive'):
        nginx.bind(("127.0.0.1", 9)).start()
