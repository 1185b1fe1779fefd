"""nginx as a reverse proxy.

By default it asks the target in HTTP/1.0 (before nginx 1.29.7), buffers answers, rewrites Host and ends a connection on
which the target is silent for 60 s. Recommended is what its documentation of ngx_http_proxy_module and "WebSocket
proxying" (nginx.org/en/docs/http/websocket.html) say together.
"""

from labkit.network.programs.program import Program

AROUND = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log access.log;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""

DEFAULT = (
    AROUND
    + """\
  server {
    listen 127.0.0.1:@port@;
    location / { proxy_pass http://@target@; }
  }
}
"""
)

RECOMMENDED = (
    AROUND
    + """\
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:@port@;
    location / {
      proxy_pass http://@target@;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
  }
}
"""
)

NGINX = Program(
    name="nginx",
    executables=("nginx",),
    file="nginx.conf",
    arguments=("-e", "stderr", "-p", "@folder@", "-c", "nginx.conf"),
    default=DEFAULT,
    recommended=RECOMMENDED,
    install="apt install nginx, or brew install nginx",
    edge=(
        (
            "listen 127.0.0.1:@port@;",
            "listen 127.0.0.1:@port@ ssl http2; ssl_certificate identity.pem; ssl_certificate_key identity.pem;",
        ),
    ),
)
