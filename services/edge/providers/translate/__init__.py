"""Translators: a client's format in front, another wire behind it. One file a pair, sans-I/O, each
a `base.Translator`.

`wire.py` has what all of them share on OpenAI's side, `chat.py` OpenAI's chat request as values.
Parameters that a provider doesn't take are gone, or refused, before a translator runs
(services/edge/providers/params.py); fields that a translator doesn't know are the provider's own,
and pass through. Nothing is added that changes the bill.
"""
