"""`make bench`: how fast Tollgate is, beside others, in one run on this machine.

Owns: the load, the static upstream, the contestants, the method (interleaved slices, ratios inside
a cycle) and the report. Takes in: the program as users run it (`python -m services`), and the
peers' packages. Gives out: a table on stdout, `bench-results/latest.json` and
`bench-results/latest.svg`. Never: prints a number of one contestant without its ratio to another
that was measured beside it; writes outside `bench-results/`, `.bench/` (the peers' packages) and a
temporary directory.

Read `run.py` (what is run), then `method.py` (how it is measured).
"""
