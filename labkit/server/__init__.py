"""What a route stands on: the hub and its fan-out, the handler that all routes share, access, HTTP/1, the WebSocket."""
