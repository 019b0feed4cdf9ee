"""Ids of tools' calls: each provider makes its own, and some refuse those of others, with which a
conversation comes that began elsewhere. What replaces an id is the same for the same id, so that a
call and its result still belong together. Pure.
"""

import hashlib
import re
from typing import Final

import msgspec

SIGNATURE: Final = "__thought__"
"""In an id of Gemini's, before the signature of the thinking that led to the call: an id is what
every client brings back.
"""
MARK: Final = SIGNATURE.encode()
_FIRST: Final = MARK[:1]
_SIGNED: Final = re.compile(rb'("(?:id|tool_call_id)"\s*:\s*)"((?:[^"\\]|\\/)*%b(?:[^"\\]|\\/)*)"' % MARK)
"""Within a text the quotes around a name would have backslashes before them."""
_CLAUDES: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def for_claude(id: str) -> str:
    """As Anthropic and Bedrock take it."""
    return id if _CLAUDES.fullmatch(id) else _other(id.encode("utf-8", "surrogatepass"))


def for_openai(messages: msgspec.Raw) -> msgspec.Raw:
    """OpenAI takes 40 characters: ids that carry a signature are replaced. The same where there is
    none.
    """
    raw = bytes(messages)
    # One character is found many times faster than several, and most prompts don't have it.
    if _FIRST not in raw or MARK not in raw:
        return messages
    return msgspec.Raw(
        _SIGNED.sub(lambda found: b'%b"%b"' % (found[1], _other(found[2].replace(b"\\/", b"/")).encode()), raw)
    )


def _other(id: bytes) -> str:
    return f"call_{hashlib.sha256(id).hexdigest()[:32]}"
