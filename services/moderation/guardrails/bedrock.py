"""`bedrock`: a guardrail made in Amazon Bedrock. What it anonymizes is replaced by its text; what
it blocks refuses the call.

Its `ApplyGuardrail` is asked of each text by itself, so that an answer is that text's.
"""

from collections.abc import Iterator
from typing import Any

from services.moderation.guardrails.aws import Aws
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, each, setting
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import AFTER, LANGUAGE, Enabled
from shared.requests import Redaction

VIOLATED = "Violated guardrail policy"
UNSUPPORTED = ("aws_role_name", "aws_web_identity_token", "aws_profile_name", "aws_sts_endpoint", "aws_external_id")
TYPES_MAX = 16


class Bedrock:
    def __init__(self, aws: Aws, identifier: str, version: str) -> None:
        self._aws = aws
        self._guardrail = {"guardrailIdentifier": identifier, "guardrailVersion": version}

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "Bedrock":
        """Raises ConfigError."""
        identifier = setting(parts, enabled, "guardrailIdentifier")
        if identifier is None:
            raise ConfigError(f"the guardrail {enabled.name!r} needs litellm_params.guardrailIdentifier")
        version = enabled.params.get("guardrailVersion", "DRAFT")  # YAML makes a number of 1
        if isinstance(version, bool) or not isinstance(version, str | int) or version == "":
            raise ConfigError(f"the guardrail {enabled.name!r}: guardrailVersion must be DRAFT or a number")
        for name in UNSUPPORTED:
            if enabled.params.get(name):
                raise ConfigError(
                    f"the guardrail {enabled.name!r}: {name} isn't read here: the environment's role is used"
                )
        return cls(Aws(parts, enabled, "bedrock-runtime"), identifier, str(version))

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        source = "OUTPUT" if inspection.stage == AFTER else "INPUT"
        texts = [(index, text, source) for index, text in inspection.read(LANGUAGE) if text.strip()]
        found = await each(texts, self._one)
        return [finding for finding in found if finding is not None]

    def open_from(self, text: str) -> int | None:
        return 0

    async def _one(self, item: tuple[int, str, str]) -> Finding | None:
        index, text, source = item
        async with self._aws.question() as client:
            said = await client.apply_guardrail(**self._guardrail, source=source, content=[{"text": {"text": text}}])
            return _read(said, index, text)


def _read(said: dict[str, Any], index: int, text: str) -> Finding | None:
    """Raises NoAnswerError where it has looked at nothing, or masks and doesn't say what stays."""
    if said.get("action") == "NONE":
        return None
    if said.get("action") != "GUARDRAIL_INTERVENED":
        raise NoAnswerError("not Bedrock's answer")
    done = list(_actions(said.get("assessments")))
    types = sorted({kind for kind, _ in done})[:TYPES_MAX]
    outputs = [output.get("text") for output in said.get("outputs") or []]
    # What names no finding of its own (grounding, reasoning) has refused.
    if {action for _, action in done} != {"ANONYMIZED"}:
        return Finding(block=True, message=VIOLATED, status=400, types=types)
    if len(outputs) != 1 or not isinstance(outputs[0], str):
        raise NoAnswerError("not Bedrock's answer")
    return Finding(redactions=[Redaction(index, 0, len(text), outputs[0])], types=types)


def _actions(found: Any) -> Iterator[tuple[str, str]]:
    """(type, BLOCKED or ANONYMIZED) of every finding in the policies' assessments; what was only
    detected isn't one.
    """
    if isinstance(found, list):
        for each_found in found:
            yield from _actions(each_found)
    elif isinstance(found, dict):
        if found.get("action") in ("BLOCKED", "ANONYMIZED"):
            yield str(found.get("name") or found.get("type") or "WORD")[:64], found["action"]
        else:
            for inner in found.values():
                yield from _actions(inner)
