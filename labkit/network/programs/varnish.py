"""Varnish.

By default it passes no Upgrade on and gives a silent target 60 s. Recommended is the WebSocket example of its user
guide (varnish-cache.org/docs), ``pass`` for what must not be cached, and longer time-outs. It needs a C compiler, for
its configuration.
"""

from labkit.network.programs.program import Program

DEFAULT = """\
vcl 4.1;
backend default { .host = "@target_host@"; .port = "@target_port@"; }
"""

RECOMMENDED = """\
vcl 4.1;
backend default {
  .host = "@target_host@"; .port = "@target_port@";
  .first_byte_timeout = 1h; .between_bytes_timeout = 1h;
}
sub vcl_recv {
  if (req.http.upgrade ~ "(?i)websocket") { return (pipe); }
  return (pass);
}
sub vcl_pipe {
  if (req.http.upgrade) {
    set bereq.http.upgrade = req.http.upgrade;
    set bereq.http.connection = req.http.connection;
  }
}
"""

VARNISH = Program(
    name="varnish",
    executables=("varnishd",),
    file="default.vcl",
    arguments=(
        *("-F", "-n", "@folder@/work", "-f", "@folder@/default.vcl", "-a", "127.0.0.1:@port@"),
        *("-T", "none", "-s", "malloc,16m"),  # -T none: no port for its administration
    ),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install varnish, or brew install varnish",
    version=("-V",),
)
