"""What ``python -m labkit COMMAND`` does, one module for each command: its ``HELP``, its arguments, and its ``run``."""
