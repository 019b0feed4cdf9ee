"""Moderation: what may be said.

Owns: the guardrails, and the precedence by which their findings become one verdict; counting tokens
where a provider gave no usage. Takes in: texts, and the names of the guardrails to put them through
(request-reply, queue group `moderation`). Gives out: verdicts (allow, redact, block, error) with
one outcome a guardrail; token counts. Never: decides whose calls a guardrail is for (the grant
does), changes a text itself (the edge applies redactions), keeps or logs what was said, or answers
"allowed" for something it didn't look at.
"""
