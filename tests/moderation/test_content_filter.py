"""The operator's own patterns and words: replaced, refused, and what a configuration may say."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from services.moderation.guardrails import Inspection, table
from services.moderation.guardrails.content_filter import PREBUILT, ContentFilter
from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import replaced
from services.moderation.verdict import merge
from shared.config import ConfigError, parse
from tests.moderation.moderation_kit import answered
from tests.support.pace import at_pace


def made(folder: Path = Path(), **params: Any) -> ContentFilter:
    entry = {"guardrail_name": "filter", "litellm_params": {"guardrail": "litellm_content_filter", **params}}
    config = parse(json.dumps({"guardrails": [entry]}), {}, directory=str(folder))
    (loaded,) = table.load(Parts(config=config))
    assert isinstance(loaded.guardrail, ContentFilter)
    return loaded.guardrail


def prebuilt(name: str, action: str = "MASK") -> dict[str, str]:
    return {"pattern_type": "prebuilt", "pattern_name": name, "action": action}


def word(keyword: str, action: str = "BLOCK", **more: str) -> dict[str, str]:
    return {"keyword": keyword, "action": action, **more}


async def result(guardrail: ContentFilter, *texts: str, group: int = 0) -> str | list[str]:
    """Why it is refused, or the texts as they go on."""
    asked = Inspection(list(texts), "pre_call", groups=[group] * len(texts))
    findings = await answered(guardrail.inspect(asked))
    for finding in findings:
        if finding.block:
            return finding.message
    found = merge([redaction for finding in findings for redaction in finding.redactions])
    return [replaced(text, [each for each in found if each.text == n]) for n, text in enumerate(texts)]


SAMPLES = {
    "us_ssn": ("it is 078-05-1120.", "078-05-11207 and 1078-05-1120"),
    "email": ("write to Ann.O+x@mail.example.co.uk!", "a @ b.c, user@host"),
    "us_phone": ("call (555) 010-4477 or", "version 555-010"),
    "visa": ("4111 1111 1111 1111", "4111 1111 1111 111"),
    "mastercard": ("2223-0031-2200-3222", "2823-0031-2200-3222"),
    "amex": ("3782 822463 10005", "3682 822463 10005"),
    "discover": ("6011000990139424", "6012000990139424"),
    "credit_card": ("pay 5555555555554444 now", "order 1234567890123456"),
    "iban": ("DE89 3704 0044 0532 0130 00", "DE8 3704 0044"),
    "ipv4": ("from 10.0.0.254,", "1.2.3 and 300.1.1.1"),
    "url": ("see https://intranet.example/a?b=c now", "see example.com"),
    "br_cpf": ("123.456.789-09", "123.456.789"),
    "br_cnpj": ("12.345.678/0001-95", "12.345.678"),
    "aws_access_key": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7"),
    "github_token": ("ghp_" + "a1B2" * 9, "ghp_short"),
    "slack_token": ("xoxb-123456789012-abc", "xoxb-1"),
    "openai_api_key": ("sk-proj-" + "abc123" * 5, "sk-short"),
    "anthropic_api_key": ("sk-ant-api03-" + "abc123" * 5, "sk-ant"),
    "gemini_api_key": ("AIza" + "x9" * 17 + "Q", "AIzashort"),
}


@pytest.mark.parametrize("name", PREBUILT)
async def test_each_pattern_hides_what_it_names_and_nothing_like_it(name: str) -> None:
    guardrail = made(patterns=[prebuilt(name)])
    there, not_there = SAMPLES[name]
    hidden = "".join(await result(guardrail, there))
    tag = f"[{name.upper()}_REDACTED]"
    assert tag in hidden and not any(map(str.isdigit, hidden.replace(tag, "")))
    assert await result(guardrail, not_there) == [not_there]
    refusing = made(patterns=[prebuilt(name, "BLOCK")])
    assert await result(refusing, "fine", there) == f"Content blocked: {name} pattern detected"


async def test_own_patterns_and_words() -> None:
    guardrail = made(
        patterns=[{"pattern_type": "regex", "name": "ticket", "pattern": r"ACME-\d{4,9}", "action": "MASK"}],
        blocked_words=[word("falcon", "MASK"), word("Projet Été", description="not public")],
        pattern_redaction_format="<{pattern_name}>",
        keyword_redaction_tag="***",
    )
    assert await result(guardrail, "acme-12345 of FALCON", "x") == ["<TICKET> of ***", "x"]
    refused = "Content blocked: keyword 'Projet Été' detected (not public)"
    assert await result(guardrail, "le PROJET  E\u0301TE\u0301") == refused
    assert await result(guardrail, "le pro\u200bjet", " été", group=1) == refused


async def test_a_finding_over_the_parts_of_one_message() -> None:
    guardrail = made(patterns=[prebuilt("email")])
    assert await result(guardrail, "to ann@", "mail.example now", group=1) == ["to [EMAIL_REDACTED]", " now"]


async def test_words_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("blocked_words:\n- {keyword: falcon, action: BLOCK}\n")
    guardrail = made(tmp_path, blocked_words_file="words.yaml")
    assert await result(guardrail, "the Falcon") == "Content blocked: keyword 'falcon' detected"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "neither patterns nor blocked_words"),
        ({"patterns": [prebuilt("health")]}, "'health' is not known: us_ssn"),
        ({"patterns": [prebuilt("email", "mask")]}, r"patterns\[0\].action must be BLOCK or MASK"),
        ({"patterns": [{"pattern_type": "regex", "action": "MASK"}]}, "regex with a pattern"),
        ({"patterns": [{"pattern_type": "regex", "pattern": "(", "action": "MASK"}]}, "not a pattern that can be"),
        ({"patterns": [{"pattern_type": "regex", "pattern": "(?=a)b", "action": "MASK"}]}, "without backtracking"),
        ({"patterns": [{"pattern_type": "regex", "pattern": "a*", "action": "MASK"}]}, "matches the empty string"),
        ({"patterns": "email"}, "patterns must be a list"),
        ({"blocked_words": [word(" ")]}, r"blocked_words\[0\].keyword must be a word"),
        ({"blocked_words": [word("a" * 257)]}, r"blocked_words\[0\].keyword is longer than 256 characters"),
        ({"blocked_words": [word("\u200b")]}, "nothing that can be seen"),
        ({"blocked_words_file": "absent.yaml"}, "can't be read"),
        ({"blocked_words_file": "/dev/zero"}, "larger than 1048576 bytes"),
        ({"categories": [{"category": "bias"}]}, "categories isn't known here"),
        ({"blocked_words": [word("a")], "keyword_redaction_tag": 1}, "must be a string"),
        ({"blocked_words": [word("a")], "mode": "during_call"}, "already be with the provider"),
    ],
)
def test_what_cannot_be_done_is_said_at_start(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**params)


@pytest.mark.alone
@pytest.mark.parametrize("repeated", ["a@", "1", "4111 ", "a.", "https://", "x@a.", "AKIA", "1.1."])
async def test_hostile_texts_take_linear_time(repeated: str) -> None:
    guardrail = made(patterns=[prebuilt(name) for name in PREBUILT])
    text = repeated * (200_000 // len(repeated))
    started = time.process_time()
    await result(guardrail, text)
    assert time.process_time() - started < at_pace(2)
