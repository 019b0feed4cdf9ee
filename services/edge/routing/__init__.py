"""Where a call goes, and where it goes next: pure decisions with clock and randomness passed in.

causes.py      what can go wrong with an attempt, and what may follow: a table
plan.py        the order of candidates, and the step after a failure
steps.py       the same for a call that goes on: fed with what is known here
strategies.py  how a group's candidates are ordered: one function a strategy
way.py         what a call may do, worked out before the first attempt
health.py      what this edge knows of its deployments: failures, cooldowns, latencies, load
"""
