"""`import-litellm`: what stands in a LiteLLM database, as control facts. Its rows come on standard
input (services/cli/import_litellm.py reads them), so this service touches no database.

    rows.py   a row → an entity of ours, and what to say about it; pure
    plan.py   rows in their order → what is to be written, against what is there; pure
    run.py    the bus: follows CONTROL, publishes, counts
"""
