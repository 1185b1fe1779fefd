"""Pure wire formats: bytes in, values out, and back. No sockets, no event loop, no clocks.

==============  ======================================================================
events          ids, epochs, cursors, the log of a topic, the gap
envelope        labkit's own JSON around events, cursors and gaps
first_word      whose words these are: a lab's, by how it begins, or somebody else's
event_stream    Server-Sent Events (WHATWG HTML 9.2.5 and 9.2.6)
delimited       lines, and messages with a NUL behind each
multipart       multipart/x-mixed-replace (RFC 2046 section 5.1)
bodies          which of these reads a body, and its coding
frames          WebSocket frames and masking (RFC 6455 sections 5.2, 5.3 and 5.5)
fragments       what they amount to: messages (RFC 6455 sections 5.4 and 8.1)
close_codes     what a close frame says (RFC 6455 section 7.4)
handshake       how a WebSocket is asked for, and whether the answer is one (RFC 6455 section 4.1)
messages        one direction of a WebSocket, permessage-deflate included
chunks          HTTP/1.1 chunked coding (RFC 9112 section 7.1)
http1           HTTP/1.x heads, and how the bodies behind them end (RFC 9112)
plugin_socket   what the two sides of a plugin socket say
spans           what each byte was for: the runs that decoders report, and the marks they become
lane, dissect   a whole connection that others had, both directions
==============  ======================================================================

Decoders take whatever a read brought, in pieces of any size, and never depend on where the pieces were cut.
"""
