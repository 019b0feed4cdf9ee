"""What is said in requests, answers and streams: texts with their addresses, and putting other
texts in their places.

Owns: which strings of a JSON body are read by guardrails (all of them, but for a few that are no
language), by what name and role; that what was read is what is forwarded. Pure.
Never: asks a guardrail, or knows what one looks for.
"""
