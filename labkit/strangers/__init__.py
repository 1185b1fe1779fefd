"""Other people's programs: what a client of theirs is tried on."""
