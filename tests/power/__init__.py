"""What each check can tell apart: `make power`."""
