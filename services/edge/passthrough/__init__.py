"""Pass-through endpoints: paths whose requests go on to somebody else's API as they are, with our
key and book before them.

(what an endpoint is, and which one a request means: shared/passthrough.py)
    named.py            endpoints that were made at run time
    provider_routes.py  providers' own APIs under our keys; pure
    mcp_servers.py      servers of the Model Context Protocol under our keys; pure
    headers.py          which headers go on, and which come back; pure
    spoken.py           what a target speaks, and which model a request names; pure
    upload.py           the request's body on its way
    files.py, form.py   a multipart body: while it flows by, or whole; pure
    guarded.py          the guardrails of an endpoint
    answer.py           the answer on its way back; guarded_answer.py: where guardrails read it before
    record.py           the facts of one such call
    relaying.py         a call to a deployment that is relayed as it is: its attempts; ways.py: whom it may go to
    surfaces/passthrough.py and surfaces/relayed.py carry it out
"""  # noqa: W505
