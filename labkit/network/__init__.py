"""What lies between client and server: the network as a relay, a gateway with bad habits, and what both share."""
