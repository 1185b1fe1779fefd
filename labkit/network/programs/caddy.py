"""Caddy.

By default it passes on event streams and answers of unknown length at once, and Upgrade as well. Recommended is
``flush_interval -1``, from its documentation of reverse_proxy ("Streaming").
"""

from labkit.network.programs.program import Program

AROUND = """\
{
  admin off
  auto_https off
  storage file_system @folder@/storage
}
"""

DEFAULT = (
    AROUND
    + """\
http://:@port@ {
  bind 127.0.0.1
  reverse_proxy @target@
}
"""
)

RECOMMENDED = (
    AROUND
    + """\
http://:@port@ {
  bind 127.0.0.1
  reverse_proxy @target@ {
    flush_interval -1
  }
}
"""
)

CADDY = Program(
    name="caddy",
    executables=("caddy",),
    file="Caddyfile",
    arguments=("run", "--config", "Caddyfile", "--adapter", "caddyfile"),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install caddy, or brew install caddy",
    version=("version",),
    edge=(
        ("http://:@port@ {\n", "https://127.0.0.1:@port@, https://localhost:@port@ {\n"),
        ("  bind 127.0.0.1\n", "  bind 127.0.0.1\n  tls @folder@/identity.pem @folder@/identity.pem\n"),
    ),
)
