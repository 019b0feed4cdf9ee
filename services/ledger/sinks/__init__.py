"""Sinks: what happened, sent to others (Langfuse, OpenTelemetry, a webhook, a bucket), chosen by
configuration, team and key.

    choose.py   which sinks there are, and whose calls each gets; pure
    records.py  a row as each of them wants it; pure
    targets.py  how it is sent
    run.py      each sink from its own position on, at least once

A sink reads the book, not the stream: nothing waits for it, and nothing is lost while it is away.
Prompts and answers are never in it.
"""
