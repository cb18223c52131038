# SPDX-License-Identifier: Apache-2.0
"""How TLS agrees on keys here, as a server and between our own nodes.

OpenSSL would also take ffdhe8192 if the client asks for it, which costs the server 100 ms of the loop for
each connection, and the client nothing.
"""

GROUP = "prime256v1"
"""The only group: every TLS 1.3 has it (RFC 8446, section 9.1), and Python 3.11 cannot set X25519."""
