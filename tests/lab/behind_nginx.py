"""A real nginx before a lab, as it comes or with more said."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab.lab import Lab
from wait import until

CONF = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{lab}; {more} }} }}
}}
"""


@contextlib.contextmanager
def nginx(lab: Lab, folder: Path, more: str = "") -> Iterator[int]:
    """A real nginx before the lab; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(CONF.format(folder=folder, port=port, lab=lab.port, more=more))
    with subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]) as process:
        try:
            until(lambda: _listens(port), "nginx listens")
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
