"""What is connected once, at start (app.py), and handed to every handler."""

from collections.abc import Callable

import msgspec

from services.edge.pipeline import Pipeline
from services.edge.upstream import Origin


class Parts(msgspec.Struct):
    pipeline: Pipeline
    ledger: Origin
    ledger_path: str
    """Before each path of the ledger's HTTP API."""
    stopping: Callable[[], bool]
    """Whether connections should end after their present request."""
    reason_not_ready: Callable[[], str | None]
    """As the probes have it."""
