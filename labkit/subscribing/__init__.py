"""The client that comes back."""
