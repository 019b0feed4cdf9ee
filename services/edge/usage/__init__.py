"""What a provider says a call used, in whatever spelling, as `shared.billing.Usage`. Pure.

`openai` reads OpenAI's wire with everything its imitators put into it; `native` the other wires, by
turning their numbers into that spelling first (as their translators do), so that there is one place
where numbers are judged: `reconcile`. A number that is odd is left out by itself; what can't be
reconciled is named in `Usage.flags`; nothing is guessed silently.
"""
