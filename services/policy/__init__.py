"""Policy: owns who may do what, and where a call may go.

Owns: keys, teams and what folds from them; every control fact (no other service writes one); the
catalog of models. Takes in: questions (`policy.decide`, `policy.admin`), the control stream,
LiteLLM's config.yaml. Gives out: grants and denials, answers to management calls, control facts.
Never: sees a raw key, speaks HTTP to a client, touches the book, or keeps anything a restart may
lose.

Read `decide.py` first, then `commands/`: both are pure. `admin.py` and `publish.py` do what the
commands planned.
"""
