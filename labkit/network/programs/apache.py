"""Apache httpd with the event MPM and mod_proxy.

By default it passes no Upgrade on, rewrites Host and gives a silent target 60 s. Recommended are ``flushpackets=on``,
``upgrade=websocket`` (from 2.4.47 on), ``ProxyPreserveHost`` and ``ProxyTimeout``, from its documentation of mod_proxy.
"""

from pathlib import Path

from labkit.network.programs.program import Program

MODULES = ("mpm_event", "unixd", "authz_core", "proxy", "proxy_http", "proxy_wstunnel")
FOLDERS = ("lib/apache2/modules", "libexec/apache2", "lib/httpd/modules", "lib64/httpd/modules", "modules")
"""Where its modules are, from the folder above its own."""

AROUND = """\
ServerRoot @folder@
ServerName labkit.invalid
PidFile apache.pid
ErrorLog /dev/stderr
DefaultRuntimeDir @folder@
Mutex file:@folder@ default
StartServers 1
Listen 127.0.0.1:@port@
"""

DEFAULT = (
    AROUND
    + """\
ProxyPass / http://@target@/
"""
)

RECOMMENDED = (
    AROUND
    + """\
ProxyPreserveHost On
ProxyTimeout 3600
ProxyPass / http://@target@/ flushpackets=on upgrade=websocket
"""
)


def with_modules(text: str, executable: Path) -> str:
    """The configuration with a line for each module that is a file here; the others are built in."""
    above = executable.resolve().parent.parent
    for folder in (above / name for name in FOLDERS):
        if folder.is_dir():
            files = {name: folder / f"mod_{name}.so" for name in MODULES}
            lines = [f"LoadModule {name}_module {file}\n" for name, file in files.items() if file.exists()]
            return "".join(lines) + text
    return text


APACHE = Program(
    name="apache",
    executables=("apache2", "httpd"),
    file="apache.conf",
    arguments=("-D", "FOREGROUND", "-f", "@folder@/apache.conf"),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install apache2, or brew install httpd",
    completed=with_modules,
)
