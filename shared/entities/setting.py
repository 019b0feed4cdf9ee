"""Settings that can change while we run. One that a fact has set wins over the file until that fact
is deleted.
"""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, times


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: Any = None
    source: str = "api"
    """`file`: policy published it from config.yaml; `api`: somebody set it."""
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}


SETTING = EntityKind(
    "setting",
    Setting,
    "name",
    "LiteLLM_Config",
    Setting(name=""),
    [column("value", readers.anything), column("source", None), *times("updated_at")],
)
