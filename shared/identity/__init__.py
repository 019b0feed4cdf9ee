"""Tokens of an identity provider: the same rules at edge and ledger. Claims travel on, never the
token.

settings.py  `enable_jwt_auth`, `litellm_jwtauth` and the `JWT_*` variables
tokens.py    a token taken apart, and what its claims must say; pure
keys.py      a key of a JWKS: which algorithm it may be used with, and verifying by it; pure
keysets.py   fetching keys: cached, ahead, one asking at a time, the last known good
verifier.py  a token to its claims, once a token and then by its digest
"""
