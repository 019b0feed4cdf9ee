"""`detect_prompt_injection`: refuses a call whose user, or a tool's result, tells the model to
ignore what it was told before. Like LiteLLM's heuristics: a fixed set of phrases, found in any
spelling that `banned_keywords` finds a word in. It doesn't know other attacks.
"""

from collections.abc import Awaitable, Iterator
from itertools import product

import msgspec

from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from shared.guardrails import Enabled

VERBS = (
    "ignore", "disregard", "skip", "forget", "neglect", "overlook", "omit", "bypass", "pay no attention to", "do not follow",
    "do not obey", "don't follow",
)  # fmt: skip
WHICH = ("", "all ", "all the ", "all of the ", "any ", "the ", "your ", "my ")
EARLIER = ("previous", "prior", "above", "preceding", "earlier", "foregoing", "initial", "original")
WHAT = (
    "instruction",
    "prompt",
    "direction",
    "directive",
    "command",
    "context",
    "guideline",
    "rule",
    "system prompt",
    "message",
)
"""Each also with what follows it: `instructions`."""
OWN = ("your instruction", "your guideline", "your system prompt", "all instruction", "the system prompt")
NOT_READ = frozenset({"system", "developer"})
"""Roles of the operator's own, who may speak of such phrases."""
MESSAGE = "Rejected message. This is a prompt injection attack."


def phrases() -> Iterator[str]:
    for verb, which, earlier, what in product(VERBS, WHICH, EARLIER, WHAT):
        yield f"{verb} {which}{earlier} {what}"
    for verb, own in product(VERBS, OWN):
        yield f"{verb} {own}"


class PromptInjection(BannedKeywords):
    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "PromptInjection":
        return cls(list(phrases()))

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        return self._look(inspection)

    def _find(self, messages: list[Message]) -> list[Finding]:
        found = super()._find([each for each in messages if each.role not in NOT_READ])
        return [msgspec.structs.replace(each, message=MESSAGE) for each in found]
