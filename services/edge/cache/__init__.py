"""Answers given before: an equal request of the same team gets the same answer, byte for byte,
without a provider.

    control.py   who wants what of the cache: request, key, team, configuration; pure
    key.py       what makes two requests equal, and for whom; pure
    store.py     where answers are kept: here (bounded bytes), or in Redis, for all edges
    bucket.py    or on the bus, sealed, for all edges: what `cache: true` means
    state.py     what a cache is while an edge runs
    serve.py     look, or call once and keep

The cache away or slow is a miss. What isn't a whole, successful answer is never kept.
"""
