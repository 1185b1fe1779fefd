"""The control room: a run without an end, with a control for everything that can be set."""
