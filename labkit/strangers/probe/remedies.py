"""The lines to change, by the program that is suspected. A suspicion is what an answer says of itself, no more."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.strangers.probe.observation import Observation

PROGRAMS = ("openresty", "nginx", "cloudflare", "envoy", "varnish", "caddy", "apache", "haproxy", "lighttpd", "squid",
            "traefik", "express", "tornado", "uvicorn", "gunicorn", "jetty")  # fmt: skip

HOLDS = "nginx where it asks in HTTP/1.0, its default before 1.29.7"
"""Whose buffer keeps the head as well: towards HTTP/1.1 nginx passes each chunk on."""
UNBUFFER = {
    "nginx": ("nginx, in the location:  proxy_http_version 1.1;  proxy_buffering off;",
              "or, where only the application can be changed, the header  X-Accel-Buffering: no  in its answer"),
    "lighttpd": ("lighttpd:  server.stream-response-body = 2",),
    "apache": ("apache:  ProxyPass / http://app/ flushpackets=on",),
    "caddy": ("Caddyfile, in reverse_proxy:  flush_interval -1",),
    "cloudflare": ("a named tunnel and exactly  Content-Type: text/event-stream",),
    "": ("nginx, if it is one:  proxy_http_version 1.1;  proxy_buffering off;   "
         "(or X-Accel-Buffering: no in the application's answer)",),
}  # fmt: skip
IDLE = {
    "nginx": ("nginx, in the location:  proxy_read_timeout 1h;",),
    "haproxy": ("haproxy.cfg, defaults:  timeout server 1h   timeout tunnel 1h",),
    "apache": ("apache:  ProxyTimeout 3600",),
    "envoy": ("envoy, in the route:  idle_timeout: 0s",),
    "varnish": ("varnish, in the backend:  .between_bytes_timeout = 1h;",),
    "": ("raise the idle limit of the hop (nginx: proxy_read_timeout 1h;  HAProxy: timeout server 1h, timeout "
         "tunnel 1h)",),
}  # fmt: skip
LIFETIME = {
    "envoy": ("envoy, in the route:  timeout: 0s",),
    "": ("raise the lifetime limit (envoy: timeout: 0s in the route; Go: http.Server WriteTimeout: 0; a cloud's "
         "backend time-out; a serverless function's longest duration), or end "
         "on purpose before it and let the client resume",),
}  # fmt: skip
UPGRADE = {
    "nginx": ("nginx, in the location:  proxy_http_version 1.1;  proxy_set_header Upgrade $http_upgrade;  "
              'proxy_set_header Connection "upgrade";',),
    "apache": ("apache 2.4.47 or later:  ProxyPass / http://app/ upgrade=websocket   (earlier: ws://app/, by "
               "mod_proxy_wstunnel)",),
    "varnish": ("varnish:  if (req.http.upgrade) { return (pipe); }  and in vcl_pipe  "
                "set bereq.http.upgrade = req.http.upgrade;",),
    "envoy": ("envoy, in the route:  upgrade_configs: [{upgrade_type: websocket}]",),
    "squid": ("squid:  http_upgrade_request_protocols websocket allow all",),
    "": ('nginx, if it is one:  proxy_http_version 1.1;  proxy_set_header Upgrade $http_upgrade;  proxy_set_header '
         'Connection "upgrade";',),
}  # fmt: skip
FLUSH = {
    "express": ("express:  call  res.flush()  after each event, or  compression({filter: (q, r) => !/event-stream/."
                "test(r.getHeader('Content-Type'))})",),
    "": ("flush the compressor after each event (zlib: Z_SYNC_FLUSH; node's compression: res.flush()), or leave "
         "text/event-stream out of it, or answer with  Cache-Control: no-transform",),
}  # fmt: skip


def suspect(observation: Observation) -> str:
    """Which program an answer says that it came through; empty where it does not."""
    told = " ".join(observation.headers.get(name, "") for name in ("server", "via", "x-powered-by")).lower()
    found = next((name for name in PROGRAMS if name in told), "")
    return "nginx" if found == "openresty" else found


def lines(table: Mapping[str, tuple[str, ...]], observation: Observation) -> tuple[str, ...]:
    """Of *table*, those for whatever program is suspected."""
    return table.get(suspect(observation), table[""])
