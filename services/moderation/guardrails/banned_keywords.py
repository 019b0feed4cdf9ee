"""`banned_keywords`: refuses a call, or an answer, that contains one of the operator's keywords.

A keyword is found anywhere in any text of any role, as part of a word too, whatever the case and in any Unicode spelling (NFKC), with
invisible characters left out and any white space as one space, and across the parts of one message.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from services.moderation.matching import SPAN_CHARACTERS_MAX, Matcher, effort, is_visible, span_characters
from shared.config import ConfigError
from shared.guardrails import EVERYTHING, Enabled

SETTING = "litellm_settings.banned_keywords_list"
KEYWORDS_MAX = 10_000
INLINE_EFFORT_MAX = 65_536
"""Longer texts are looked at in a thread, so that the loop stays free for others: up to here it is 1 to 4 ms."""
FILE_BYTES_MAX = 16 * 1024 * 1024


class BannedKeywords:
    def __init__(self, keywords: list[str], *, homoglyphs: bool = False) -> None:
        self._matcher = Matcher(keywords, homoglyphs=homoglyphs)

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "BannedKeywords":
        """Raises ConfigError when the list is missing, unreadable, empty or out of bounds."""
        config = parts.config
        keywords = _keywords(config.litellm.banned_keywords_list, config.directory)
        return cls(keywords, homoglyphs=config.litellm.banned_keywords_homoglyphs)

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        messages = inspection.messages(EVERYTHING)
        if sum(effort(part) for message in messages for part in message.parts) > INLINE_EFFORT_MAX:
            return asyncio.to_thread(self._find, messages)
        return self._find(messages)

    def open_from(self, text: str) -> int | None:
        return self._matcher.open_from(text)

    def _find(self, messages: list[Message]) -> list[Finding]:
        for message in messages:
            keyword = self._matcher.find_across(message.parts)
            if keyword is not None:
                return [Finding(block=True, message=f"Keyword banned. Keyword={keyword}", status=400)]
        return []


def _keywords(value: Any, directory: str) -> list[str]:
    """A list as it is, or the lines of a text file without the white space around them; blank ones are ignored."""
    if isinstance(value, str) and value:
        lines = _lines(Path(directory) / value)
        keywords = [line.strip() for line in lines if line.strip()]
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if not isinstance(item, str):
                raise ConfigError(f"{SETTING}[{i}] must be a text (quote it)")
        keywords = [item for item in value if item.strip()]
    else:
        raise ConfigError(
            f"{SETTING} must be a list of keywords or the path of a .txt file, as banned_keywords is enabled"
        )
    if not keywords:
        raise ConfigError(f"{SETTING} holds no keyword")
    if len(keywords) > KEYWORDS_MAX:
        raise ConfigError(f"{SETTING} holds more than {KEYWORDS_MAX} keywords")
    for i, keyword in enumerate(keywords, 1):
        if not is_visible(keyword):
            raise ConfigError(f"{SETTING}: keyword {i} has nothing that can be seen")
        if span_characters(keyword) > SPAN_CHARACTERS_MAX:
            raise ConfigError(f"{SETTING}: keyword {i} is longer than {SPAN_CHARACTERS_MAX} characters")
        if not _is_text(keyword):
            raise ConfigError(f"{SETTING}: keyword {i} is not valid Unicode")
    return keywords


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{SETTING}: {file} is larger than {FILE_BYTES_MAX} bytes")
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{SETTING}: {file} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{SETTING}: cannot read {str(file)!r}: {getattr(error, 'strerror', None) or error}"
        ) from None


def _is_text(keyword: str) -> bool:
    """Half a surrogate pair, which YAML can write, is no text."""
    try:
        keyword.encode()
    except UnicodeEncodeError:
        return False
    return True
