"""What ``python -m labkit`` does, one module for each command."""
