"""Of 12_where_the_server_lives: what a busy cell does to a server in its kernel."""
