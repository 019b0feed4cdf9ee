"""Providers: the upstream's side of a call, one file each (base.py says what a provider is), one
row each (table.py).

Owns: where each deployment's calls go, with which headers and credentials, and in which wire.
Never: opens a connection (upstream/ does), reads a clock but for a token's end, or knows the
client.
"""
