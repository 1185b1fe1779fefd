"""The HTTP/2 client against servers that nobody here wrote: nginx as a front that goes away again and again, node."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("h2", reason="h2 is not installed (pip install 'labkit[http2]')")

import labkit
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import check_marks
from wait import until

NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error;
events {{}}
http {{
  access_log off; keepalive_requests 5;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port} http2;
    location / {{
      proxy_pass http://127.0.0.1:{lab}; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Host 127.0.0.1:{lab};
    }}
  }}
}}
"""

NODE = """
const server = require('http2').createServer();
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  const path = headers[':path'];
  stream.respond({ ':status': 200, 'content-type': 'text/event-stream' }, {});
  stream.write('id: 1\\ndata: one\\n\\n');
  if (path === '/goaway') stream.session.goaway(0, stream.id);
  setTimeout(() => path === '/reset' ? stream.close(2) : stream.end('id: 2\\ndata: two\\n\\n'), 50);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx")
def test_a_front_that_goes_away_after_every_fifth_request_loses_nothing_and_brings_nothing_twice(
    tmp_path: Path,
) -> None:
    port, names = free_port(), ["polling", "long-polling"]
    with labkit.Lab("behind") as lab:
        (tmp_path / "conf").write_text(NGINX.format(folder=tmp_path, port=port, lab=lab.port))
        nginx = subprocess.Popen(["nginx", "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL)
        try:
            until(lambda: answers(port))
            schedule = labkit.poisson(rate_per_s=20, duration_s=2, seed=1)
            run = labkit.measure(
                lab, names, schedule, poll_interval_s=0.1, http=2, through=("127.0.0.1", port), progress=False
            )
        finally:
            nginx.terminate()
            nginx.wait()
    table = run.summary()
    assert table["failed"].tolist() == ["", ""] and (table["lost"] == 0).all() and (table["duplicated"] == 0).all()
    for name in names:
        records = list(run.ledger.of(name))
        assert len(records) >= 3 and all(record.requests <= 5 for record in records)
        for record in records:
            check_marks(record)
            assert record.http_version == "2"


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node")
    with subprocess.Popen([program, "-e", NODE], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


@pytest.mark.parametrize(("path", "lost"), [("/", ""), ("/goaway", ""), ("/reset", "INTERNAL_ERROR")])
def test_node_ends_a_stream_goes_away_from_it_and_resets_it(node: str, path: str, lost: str) -> None:
    run = listen(node + path, "sse", seconds=0.5, http=2, retry_s=60.0, progress=False)
    (record,) = run.ledger.connections
    check_marks(record)
    assert run.deliveries["wire_id"].tolist() == (["1"] if lost else ["1", "2"])
    assert "HTTP/2 was spoken, by prior knowledge." in run.notes
