"""Of 07_control_room."""
