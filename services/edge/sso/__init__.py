"""Single sign-on for the admin page: who comes back from the identity provider gets a session,
which is a short-lived key.

settings.py  which provider, from LiteLLM's variables
flow.py      the address to go to, what is kept in between, what comes back; pure
exchange.py  the code for a token, the token for who it is
sessions.py  a session's key: asked of policy, carried in a cookie
"""
