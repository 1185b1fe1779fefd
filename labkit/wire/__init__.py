"""Pure wire formats: bytes in, values out, and back. No sockets, no event loop, no clocks.

==================  ======================================================================
event_stream        Server-Sent Events (WHATWG HTML 9.2.5 and 9.2.6)
frames              WebSocket frames, messages and close codes (RFC 6455 sections 5 and 7.4)
chunks              HTTP/1.1 chunked coding (RFC 9112 section 7.1)
envelope            labkit's own JSON around events, cursors and gaps
==================  ======================================================================

Decoders take whatever a read brought, in pieces of any size, and never depend on where the pieces were cut.
"""
