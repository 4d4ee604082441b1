"""SMPP 3.4: a transceiver session with a message centre, receipts and look-ups over the same connection.

From the wire up: `pdu` (octets), `alphabets`, `statuses` and `receipts` (a provider's words), `parts` (what is
submitted), `window` (what waits for answers), `session` (the protocol, without a socket), `connection` and `line`
(sockets and the thread), `inbound` and `inquiries` (what the message centre sends us), `gateway` (the port).
"""
