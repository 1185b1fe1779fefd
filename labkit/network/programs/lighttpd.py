"""lighttpd with mod_proxy.

By default it holds an answer back until that has ended, and so an endless one for ever. Recommended are
``server.stream-response-body = 2`` and Upgrade, from its documentation of these and of mod_proxy.
"""

from labkit.network.programs.program import Program

DEFAULT = """\
server.modules = ("mod_proxy")
server.document-root = "@folder@"
server.bind = "127.0.0.1"
server.port = @port@
server.upload-dirs = ("@folder@")
proxy.server = ("" => (("host" => "@target_host@", "port" => @target_port@)))
"""

RECOMMENDED = (
    DEFAULT
    + """\
server.stream-response-body = 2
server.max-write-idle = 3600
proxy.header = ("upgrade" => "enable")
"""
)

LIGHTTPD = Program(
    name="lighttpd",
    executables=("lighttpd",),
    file="lighttpd.conf",
    arguments=("-D", "-f", "lighttpd.conf"),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install lighttpd, or brew install lighttpd",
)
