"""What the configuration says of deployments, as far as alerts tell of them. Pure."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec

from shared.config import Deployment


class Served(msgspec.Struct, frozen=True):
    model: str
    provider: str
    upstream_model: str
    region: str = ""
    """Empty: the entry names none."""
    ends: date | None = None
    """`model_info.deprecation_date`."""


def of(deployments: Iterable[Deployment]) -> dict[str, Served]:
    """By id. Those that were added by API aren't among them."""
    return {
        each.id: Served(
            each.model_name,
            each.provider,
            each.upstream_model,
            each.params.aws_region_name or each.params.vertex_location or str(each.info.get("region_name") or ""),
            _day(each.info.get("deprecation_date")),
        )
        for each in deployments
    }


def _day(value: Any) -> date | None:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
