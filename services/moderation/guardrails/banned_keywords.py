"""`banned_keywords`: refuses a call, or an answer, that contains one of the operator's keywords.

A keyword is found anywhere in any text of any role, as part of a word too, whatever the case and in
any Unicode spelling (NFKC), with invisible characters left out and any white space as one space,
and across the parts of one message.
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import structlog

from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from shared.config import ConfigError
from shared.guardrails import EVERYTHING, Enabled
from shared.keywords.matching import SPAN_CHARACTERS_MAX, Matcher, effort, is_visible, span_characters
from shared.requests import KeywordsReply

log = structlog.get_logger()

SETTING = "litellm_settings.banned_keywords_list"
KEYWORDS_MAX = 10_000
AT_ONCE_EFFORT_MAX = 262_144
"""Longer texts are looked at in a thread, so that the loop stays free for others: up to here one
quick step is 0.1 to 2 ms.
"""
INLINE_EFFORT_MAX = 32_768
"""And those that one step doesn't clear: what has to be composed, or compared by how it looks, may
take 3 microseconds a character.
"""
LOOK_S = 0.5
FILE_BYTES_MAX = 16 * 1024 * 1024
TOLD_CHARACTERS_MAX = 150_000
"""Of all keywords together, in an answer that fits a bus message."""


class BannedKeywords:
    def __init__(self, keywords: list[str], *, homoglyphs: bool = False, file: "WatchedFile | None" = None) -> None:
        """`file`: where the keywords came from; they are read again when it changes."""
        self._homoglyphs = homoglyphs
        self._file = file
        self._matcher = Matcher(keywords, homoglyphs=homoglyphs)
        self._keywords = keywords
        self.rules = self._matcher.version
        """For the book; another once the file was read again."""

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "BannedKeywords":
        """Raises ConfigError when the list is missing, unreadable, empty or out of bounds."""
        litellm, directory = parts.config.litellm, parts.config.directory
        given = litellm.banned_keywords_list
        file = WatchedFile(Path(directory) / given) if isinstance(given, str) and given else None
        return cls(_keywords(given, directory), homoglyphs=litellm.banned_keywords_homoglyphs, file=file)

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        if self._file is not None and self._file.changed():
            return self._read_again(inspection)
        return self._look(inspection)

    def _look(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        messages = inspection.messages(EVERYTHING)
        work = sum(effort(part) for message in messages for part in message.parts)
        if INLINE_EFFORT_MAX < work <= AT_ONCE_EFFORT_MAX:
            messages = [each for each in messages if not self._matcher.clear_at_once(each.parts)]
            work = sum(effort(part) for message in messages for part in message.parts)
        if work > INLINE_EFFORT_MAX:
            return asyncio.to_thread(self._find, messages)
        return self._find(messages)

    async def _read_again(self, inspection: Inspection) -> list[Finding]:
        """The question that noticed the change is answered by the new list. A list that can't be
        used leaves the old one.
        """
        assert self._file is not None
        try:
            keywords, matcher = await asyncio.to_thread(self._loaded, self._file.path)
            self._keywords, self._matcher = keywords, matcher
            self.rules = self._matcher.version
            log.info("banned_keywords_read_again")
        except ConfigError as error:
            log.error("banned_keywords_not_read", reason=str(error))
        found = self._look(inspection)
        return found if isinstance(found, list) else await found

    def _loaded(self, path: Path) -> tuple[list[str], Matcher]:
        keywords = _keywords(str(path), "")
        return keywords, Matcher(keywords, homoglyphs=self._homoglyphs)

    def told(self) -> KeywordsReply:
        """The list, for an edge to see by it which texts hold none of it."""
        if sum(map(len, self._keywords)) > TOLD_CHARACTERS_MAX:
            return KeywordsReply()
        return KeywordsReply(self.rules, self._keywords, self._homoglyphs)

    def open_from(self, text: str) -> int | None:
        return self._matcher.open_from(text)

    def _find(self, messages: list[Message]) -> list[Finding]:
        for message in messages:
            keyword = self._matcher.find_across(message.parts)
            if keyword is not None:
                return [Finding(block=True, message=f"Keyword banned. Keyword={keyword}", status=400)]
        return []


class WatchedFile:
    """Notices that a file is another than it was, looking at most once in LOOK_S."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._stamp()
        self._looked_at = time.monotonic()

    def changed(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False  # a file that is gone for a moment is being replaced
        self._seen = stamp
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _keywords(value: Any, directory: str) -> list[str]:
    """A list as it is, or the lines of a text file without the white space around them; blank ones
    are ignored.
    """
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
        check(f"{SETTING}: keyword {i}", keyword)
    return keywords


def check(at: str, keyword: str) -> None:
    """Raises ConfigError for one that a Matcher can't look for."""
    if not is_visible(keyword):
        raise ConfigError(f"{at} has nothing that can be seen")
    if span_characters(keyword) > SPAN_CHARACTERS_MAX:
        raise ConfigError(f"{at} is longer than {SPAN_CHARACTERS_MAX} characters")
    if not _is_text(keyword):
        raise ConfigError(f"{at} is not valid Unicode")


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
