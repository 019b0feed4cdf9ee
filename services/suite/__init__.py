"""Suite: the whole of Tollgate on one machine, for `python -m services`.

Owns: the data directory (lock, remembered ports and passwords), the embedded NATS and PostgreSQL,
and the life of every child. Takes in: the environment, the path of a `config.yaml`, signals.
Gives out: running processes, `suite.json` (who runs where), and one message that says how to make
the first call. Never: speaks to a client, reads a fact, or imports a service; a service is only
ever started as `python -m services.<name>`.

`app.py` is the page to read first: what is started, in which order, with which settings.
"""
