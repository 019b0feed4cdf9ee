"""Edge: terminates HTTP, and owns the client's connection.

Owns: the client's connection (http/), one request from its first byte to its last, the connections
to providers (upstream/), the journal on its disk, and the copies of grants it keeps for a while.
Takes in: HTTP from clients; grants and verdicts (request-reply); control facts (to forget grants
by). Gives out: bytes to providers and clients; traffic facts: `opened` before a provider sees a
byte, one end before the client has the last.
Never: decides who may do what (policy does), keeps a raw key, touches the book, or lets a caller's
header reach a provider.

Read `pipeline.py` first: one request, start to finish, on one page.
"""
