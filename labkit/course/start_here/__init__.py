"""Of 00_start_here."""
