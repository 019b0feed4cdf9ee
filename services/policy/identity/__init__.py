"""Who a token's owner is: from the claims of an identity provider, which the edge has verified, to
the rights of a key.

claims.py   claims and rules to a principal: a key that stands nowhere but in the decision; pure
upserts.py  teams and users that a token is the first to name, made as ordinary control facts
"""
