"""The lab: the server with its routes, in this kernel or in a process of its own, and the page at ``/``."""
