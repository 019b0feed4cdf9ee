"""`litellm_content_filter`: the operator's own patterns and words, each replaced or refused; no
service is asked.

    patterns: [{pattern_type: prebuilt, pattern_name: us_ssn, action: MASK},
               {pattern_type: regex, name: ticket, pattern: 'ACME-\\d{4,9}', action: BLOCK}]
    blocked_words: [{keyword: falcon, action: MASK}]

Patterns are matched whatever the case, by an engine without backtracking: no text makes one slow.
Words that refuse are found in any Unicode spelling, as banned_keywords finds them. In a stream a
pattern is seen where it spans no more characters than the row's window.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
import re2
import yaml

from services.moderation.guardrails import banned_keywords
from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from services.moderation.verdict import merge
from shared.config import ConfigError
from shared.guardrails import LANGUAGE, Enabled
from shared.keywords.matching import Matcher, effort
from shared.requests import Redaction

_DIGITS4 = r"\d{4}[\s-]?"
_CARDS = {
    "visa": rf"\b4\d{{3}}[\s-]?{_DIGITS4}{_DIGITS4}\d{{4}}\b",
    "mastercard": rf"\b(?:5[1-5]\d{{2}}|2[2-7]\d{{2}})[\s-]?{_DIGITS4}{_DIGITS4}\d{{4}}\b",
    "amex": r"\b3[47]\d{2}[\s-]?\d{6}[\s-]?\d{5}\b",
    "discover": rf"\b6(?:011|5\d{{2}})[\s-]?{_DIGITS4}{_DIGITS4}\d{{4}}\b",
}
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
PREBUILT = {
    "us_ssn": r"\b\d{3}-\d{2}-\d{4}\b",
    "email": r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    "us_phone": r"(?:\+?\b1[-. ]?)?(?:\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b",
    **_CARDS,
    "credit_card": "|".join(_CARDS.values()),
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "ipv4": rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b",
    "url": r"\bhttps?://[^\s<>\"']{1,200}",
    "br_cpf": r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b",
    "br_cnpj": r"\b\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}\b",
    "aws_access_key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github_token": r"\bgh[pousr]_[A-Za-z0-9]{36,64}\b",
    "slack_token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,100}",
    "openai_api_key": r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,200}",
    "anthropic_api_key": r"\bsk-ant-[A-Za-z0-9_-]{20,200}",
    "gemini_api_key": r"\bAIza[A-Za-z0-9_-]{35}",
}
"""By LiteLLM's names. Its patterns of circumstances (health, faith, violence ...) aren't here."""
RULES_MAX = 1_000
FILE_BYTES_MAX = 1024 * 1024
INLINE_EFFORT_MAX = 32_768
"""Longer texts are looked at in a thread."""
TAG_CHARACTERS_MAX = 200


class _Rule(msgspec.Struct, frozen=True):
    name: str
    pattern: re2._Regexp
    tag: str
    """What takes its place; empty: it refuses."""


class ContentFilter:
    def __init__(self, rules: list[_Rule], banned: dict[str, str]) -> None:
        """`banned`: words that refuse → what the operator says of each."""
        self._rules = rules
        self._banned = banned
        self._matcher = Matcher(list(banned)) if banned else None
        said = [[rule.name, rule.pattern.pattern, rule.tag] for rule in rules]
        self.rules = hashlib.sha256(msgspec.json.encode([said, banned])).hexdigest()[:12]
        """For the book."""

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "ContentFilter":
        """Raises ConfigError, with the place."""
        at, params = f"the guardrail {enabled.name!r}", enabled.params
        for name in ("categories", "competitor_intent_config", "image_model"):
            if params.get(name):
                raise ConfigError(f"{at}: {name} isn't known here; patterns and blocked_words are")
        masked = _tag(
            f"{at}: pattern_redaction_format", params, "pattern_redaction_format", "[{pattern_name}_REDACTED]"
        )
        hidden = _tag(f"{at}: keyword_redaction_tag", params, "keyword_redaction_tag", "[KEYWORD_REDACTED]")
        rules, banned = [], {}
        for place, entry in _entries(at, "patterns", params.get("patterns")):
            name, pattern = _pattern(place, entry)
            rules.append(_rule(place, name, pattern, masked.replace("{pattern_name}", name.upper()), entry))
        words = list(_entries(at, "blocked_words", params.get("blocked_words")))
        file = params.get("blocked_words_file")
        if file is not None:
            words += _entries(at, "blocked_words_file", _read(f"{at}: blocked_words_file", parts, file))
        for place, entry in words:
            keyword = entry.get("keyword")
            if not isinstance(keyword, str) or not keyword.strip():
                raise ConfigError(f"{place}.keyword must be a word")
            if _action(place, entry) == "BLOCK":
                banned_keywords.check(f"{place}.keyword", keyword)
                banned[keyword] = str(entry.get("description") or "")
            else:
                rules.append(_rule(place, keyword, re.escape(keyword), hidden, entry))
        if not rules and not banned:
            raise ConfigError(f"{at}: neither patterns nor blocked_words say what to look for")
        if len(rules) + len(banned) > RULES_MAX:
            raise ConfigError(f"{at}: more than {RULES_MAX} patterns and words")
        return cls(rules, banned)

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        messages = inspection.messages(LANGUAGE)
        if sum(effort(part) for message in messages for part in message.parts) > INLINE_EFFORT_MAX:
            return asyncio.to_thread(self._find, messages)
        return self._find(messages)

    def open_from(self, text: str) -> int | None:
        return None

    def _find(self, messages: list[Message]) -> list[Finding]:
        redactions: list[Redaction] = []
        types: set[str] = set()
        for message in messages:
            refused = self._refused(message)
            if refused:
                return [Finding(block=True, message=f"Content blocked: {refused}", status=400)]
            text = message.text
            for rule in self._rules:
                for found in rule.pattern.finditer(text) if rule.tag else ():
                    redactions += message.redactions(found.start(), found.end(), rule.tag)
                    types.add(rule.name)
        return [Finding(redactions=merge(redactions), types=sorted(types))] if redactions else []

    def _refused(self, message: Message) -> str:
        """Why a message is refused; empty: it isn't."""
        for rule in self._rules:
            if not rule.tag and rule.pattern.search(message.text) is not None:
                return f"{rule.name} pattern detected"
        keyword = self._matcher.find_across(message.parts) if self._matcher is not None else None
        if keyword is None:
            return ""
        about = self._banned[keyword]
        return f"keyword '{keyword}' detected" + (f" ({about})" if about else "")


def _entries(at: str, name: str, given: Any) -> list[tuple[str, dict[str, Any]]]:
    if given is not None and (not isinstance(given, list) or not all(isinstance(each, dict) for each in given)):
        raise ConfigError(f"{at}: {name} must be a list of mappings")
    return [(f"{at}: {name}[{n}]", each) for n, each in enumerate(given or ())]


def _pattern(at: str, entry: dict[str, Any]) -> tuple[str, str]:
    """(what it is called, the regular expression)."""
    kind = entry.get("pattern_type", "prebuilt" if "pattern_name" in entry else "regex")
    if kind == "prebuilt":
        name = entry.get("pattern_name")
        if name not in PREBUILT:
            raise ConfigError(f"{at}.pattern_name: {name!r} is not known: {', '.join(PREBUILT)}")
        return str(name), PREBUILT[str(name)]
    pattern = entry.get("pattern")
    if kind != "regex" or not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"{at} must be of pattern_type prebuilt with a pattern_name, or regex with a pattern")
    return str(entry.get("name") or "custom_pattern"), pattern


def _rule(at: str, name: str, pattern: str, tag: str, entry: dict[str, Any]) -> _Rule:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ConfigError(f"{at}: not a pattern that can be matched without backtracking: {said}") from None
    if compiled.search("") is not None:
        raise ConfigError(f"{at}: the pattern matches the empty string")
    return _Rule(name, compiled, tag if _action(at, entry) == "MASK" else "")


def _action(at: str, entry: dict[str, Any]) -> str:
    action = entry.get("action")
    if action not in ("BLOCK", "MASK"):
        raise ConfigError(f"{at}.action must be BLOCK or MASK")
    return str(action)


def _tag(at: str, params: Any, name: str, usual: str) -> str:
    said = params.get(name) or usual
    if not isinstance(said, str) or len(said) > TAG_CHARACTERS_MAX:
        raise ConfigError(f"{at} must be a string of at most {TAG_CHARACTERS_MAX} characters")
    return said


def _read(at: str, parts: Parts, file: Any) -> Any:
    """`blocked_words` of a YAML file."""
    try:
        with (Path(parts.config.directory) / file).open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{at}: {file!r} is larger than {FILE_BYTES_MAX} bytes")
        found = yaml.safe_load(data)
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        raise ConfigError(f"{at}: {file!r} can't be read as YAML") from None
    return found.get("blocked_words") if isinstance(found, dict) else found
