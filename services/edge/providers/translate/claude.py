"""What each Claude takes, by its version: one table, read from the model's name as any seller
spells it.
"""

import functools
import re

import msgspec

_VERSION = re.compile(
    r"claude-(?:v)?(?:(?P<family>[a-z]+)-)?(?P<major>\d)(?:[-.](?P<minor>\d{1,2}))?(?![\d.])(?:-(?P<late>[a-z]+))?"
)
_NEWEST = (9, 0)


class Claude(msgspec.Struct, frozen=True):
    version: tuple[int, int]
    family: str
    """haiku, sonnet, opus, ...; "" when the name doesn't say."""

    @property
    def schemas(self) -> bool:
        """Structured outputs (`output_config.format`); older ones are given the schema as a
        tool's.
        """
        return self.version >= (4, 5) or (self.version == (4, 1) and self.family == "opus")

    @property
    def adaptive(self) -> bool:
        """Thinks as much as `output_config.effort` says; older ones take a budget of tokens."""
        return self.version >= (4, 6)

    @property
    def effort(self) -> bool:
        return self.adaptive or (self.version == (4, 5) and self.family == "opus")

    @property
    def xhigh(self) -> bool:
        return self.version >= (4, 7)

    @property
    def thinks(self) -> bool:
        return self.version >= (3, 7)

    @property
    def sampling(self) -> bool:
        """Takes temperature, top_p, top_k."""
        return self.version < (4, 7)

    @property
    def forced_tools(self) -> bool:
        """Takes a `tool_choice` that makes it call a tool."""
        return self.version < (5, 1) or self.family == "haiku"

    @property
    def output_tokens_max(self) -> int:
        """`max_tokens` is required here and optional in OpenAI's wire, where leaving it out means
        as much as the model can.
        """
        if self.version >= (4, 6):
            return 128_000
        if self.version >= (4, 5):
            return 64_000
        if self.version >= (4, 0):
            return 32_000 if self.family == "opus" else 64_000
        if self.version >= (3, 7):
            return 64_000
        return 8_192 if self.version >= (3, 5) else 4_096


@functools.lru_cache(maxsize=1024)
def of(model: str) -> Claude:
    """`claude-3-5-sonnet-20241022`, `claude-sonnet-4@20250514`,
    `us.anthropic.claude-opus-4-1-20250805-v1:0`.

    A Claude without a version in its name is a new one; what isn't called Claude at all is treated
    as an old one, which is asked for less.
    """
    found = _VERSION.search(model.lower())
    if found is None:
        return Claude(_NEWEST if "claude" in model.lower() else (3, 0), "")
    version = (int(found["major"]), int(found["minor"] or 0))
    return Claude(version, found["family"] or found["late"] or "")
