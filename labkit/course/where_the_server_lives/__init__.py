"""Of 12_where_the_server_lives: what a busy cell does to a server in its kernel."""

from __future__ import annotations

from labkit.course.where_the_server_lives import kernels, nesting, residence
from labkit.course.where_the_server_lives.judges import check_proxy

__all__ = ["check_proxy", "kernels", "nesting", "residence"]
