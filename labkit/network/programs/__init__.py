"""The real programs that the kit can start: one file each, with its two configurations as text."""

from labkit.network.programs.apache import APACHE
from labkit.network.programs.caddy import CADDY
from labkit.network.programs.envoy import ENVOY
from labkit.network.programs.haproxy import HAPROXY
from labkit.network.programs.lighttpd import LIGHTTPD
from labkit.network.programs.nginx import NGINX
from labkit.network.programs.program import Program
from labkit.network.programs.squid import SQUID
from labkit.network.programs.traefik import TRAEFIK
from labkit.network.programs.varnish import VARNISH

PROGRAMS: dict[str, Program] = {
    program.name: program for program in (NGINX, HAPROXY, SQUID, VARNISH, CADDY, APACHE, LIGHTTPD, TRAEFIK, ENVOY)
}
"""By the names that :func:`labkit.real_intermediary` takes."""
