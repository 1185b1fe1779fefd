"""squid as an accelerator, which is what it calls a reverse proxy.

By default it does not pass an Upgrade on. Recommended is ``http_upgrade_request_protocols``, from its documentation of
that directive (squid-cache.org/Doc/config), and a longer ``read_timeout``.
"""

from labkit.network.programs.program import Program

DEFAULT = """\
http_port 127.0.0.1:@port@ accel defaultsite=127.0.0.1:@port@ no-vhost
cache_peer @target_host@ parent @target_port@ 0 no-query originserver name=target
http_access allow all
cache_peer_access target allow all
pid_filename none
cache_log stdio:/dev/stderr
access_log none
cache_mem 16 MB
max_filedescriptors 4096
coredump_dir @folder@
netdb_filename none
pinger_enable off
visible_hostname labkit.invalid
shutdown_lifetime 0 seconds
"""

RECOMMENDED = (
    DEFAULT
    + """\
http_upgrade_request_protocols websocket allow all
read_timeout 1 hour
"""
)

SQUID = Program(
    name="squid",
    executables=("squid",),
    file="squid.conf",
    arguments=("-N", "-n", "labkit@port@", "-f", "@folder@/squid.conf"),  # -N: one process, in the foreground
    default=DEFAULT,
    recommended=RECOMMENDED,
    grace_s=5.0,  # it takes two seconds, and removes its shared memory, which is called as -n says
    install="apt install squid, or brew install squid",
)
