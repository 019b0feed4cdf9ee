"""Pass-through endpoints: paths whose requests go on to somebody else's API as they are, with our key and book before them.

(what an endpoint is, and which one a request means: shared/passthrough.py)
    headers.py   which headers go on, and which come back
    record.py    the facts of one such call
    surfaces/passthrough.py carries it out

Pure, but for record.py.
"""
