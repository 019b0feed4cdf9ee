"""Deployments that were added by API; those of config.yaml are each service's own."""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, who

SealedText = list[str]
"""A shared.sealing.Sealed as JSON has it. Only edges can open it."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    model_id: str
    model_name: str
    """The name that callers use; several with one name are one model's deployments."""
    litellm_params: dict[str, Any] = {}
    """Without the secrets."""
    sealed: dict[str, SealedText] = {}
    """The secrets of `litellm_params`: each is its value as JSON, sealed for
    `model/<model_id>/<name>`.
    """
    model_info: dict[str, Any] = {}
    blocked: bool = False
    """No call goes there."""
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


MODEL = EntityKind(
    "model",
    Model,
    "model_id",
    "LiteLLM_ProxyModelTable",
    Model(model_id="", model_name=""),
    [
        column("model_name", readers.text),
        column("litellm_params", readers.mapping),
        column("sealed", None),
        column("model_info", readers.mapping),
        column("blocked", readers.flag),
        *who(),
    ],
)
