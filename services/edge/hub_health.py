"""Whether a model answers, as this edge last saw it (checks.py): what the hub's rows say of it
beside what policy knows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.edge.checks import Checked, Checks


def completed(checks: Checks, body: bytes) -> bytes:
    """
    Args:
        body: JSON: rows of models (`model_group`), or a page of them (`data`).
    """
    answer: Any = msgspec.json.decode(body)
    rows = answer.get("data") if isinstance(answer, dict) else answer
    last = _by_model(checks)
    for row in rows if isinstance(rows, list) else []:
        found = last.get(row.get("model_group"))
        if found is not None:
            row["health_status"] = "healthy" if found.healthy else "unhealthy"
            row["health_response_time"] = round(found.took_s * 1000, 1)
            row["health_checked_at"] = datetime.fromtimestamp(found.at_ms / 1000, UTC).isoformat()
    return msgspec.json.encode(answer)


def _by_model(checks: Checks) -> Mapping[str, Checked]:
    """A model answers where one of its deployments does; of several, the one that was looked at
    last.
    """
    found: dict[str, Checked] = {}
    for each in checks.known():
        if each.shown.get("error_code") == "not_checked":
            continue
        name = str(each.shown["model_name"])
        other = found.get(name)
        if other is None or (each.healthy, each.at_s) > (other.healthy, other.at_s):
            found[name] = each
    return found
