"""Client connections that count every byte: TCP, HTTP, WebSocket, and the ledger that keeps what went over them."""
