"""Pass-through endpoints that were made at run time; those of config.yaml are the edge's own."""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, times


class PassThrough(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    given: dict[str, Any] = {}
    """As shared.passthrough reads it."""
    created_at_ms: int = 0
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}


PASS_THROUGH = EntityKind(
    "pass_through",
    PassThrough,
    "id",
    "LiteLLM_Config",
    PassThrough(id=""),
    [column("given", readers.mapping), *times("created_at", "updated_at")],
)
