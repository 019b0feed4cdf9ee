"""`tollgate`: one command for everything.

Owns: which command is which program, and LiteLLM's flags.
Never: does a service's work; services are started as `python -m services.<name>` would.
"""
