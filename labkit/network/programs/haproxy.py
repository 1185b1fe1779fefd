"""HAProxy.

It calls a configuration without time-outs incomplete, so its default here has those of the first example in its manual
(50 s). By default it lets small writes wait for an acknowledgement. Recommended are ``option http-no-delay`` and
``timeout tunnel``, as its configuration manual describes them.
"""

from labkit.network.programs.program import Program

DEFAULT = """\
global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend near
  bind 127.0.0.1:@port@
  default_backend far
backend far
  server target @target@
"""

RECOMMENDED = """\
global
  maxconn 1000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend near
  bind 127.0.0.1:@port@
  default_backend far
backend far
  server target @target@
"""

HAPROXY = Program(
    name="haproxy",
    executables=("haproxy",),
    file="haproxy.cfg",
    arguments=("-db", "-f", "haproxy.cfg"),  # -db: one process, in the foreground
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install haproxy, or brew install haproxy",
    edge=(("bind 127.0.0.1:@port@", "bind 127.0.0.1:@port@ ssl crt identity.pem alpn h2,http/1.1"),),
)
