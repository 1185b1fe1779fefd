"""Of 06_plugins_and_relatives: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.relatives.advice import advised_pause
from labkit.course.relatives.exhibits import lab
from labkit.course.relatives.manners import relatives
from labkit.course.relatives.plugin_socket import flash
from labkit.course.relatives.tricks import Old, in_the_page, old_tricks, watch_page

__all__ = ["Old", "advised_pause", "flash", "in_the_page", "lab", "old_tricks", "relatives", "watch_page"]
