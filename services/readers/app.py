"""A file that can be read may still not be one that a service starts with: each has rules that it
alone knows. Nothing is started, nobody is called; the operator's own Python is run, as at a start.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping

import structlog

from services.edge.reads import reads as edge
from services.ledger.reads import reads as ledger
from services.moderation.reads import reads as moderation
from services.policy.reads import reads as policy
from shared.config import ConfigError
from shared.settings import SettingsError

Reads = Callable[[Mapping[str, str]], Awaitable[dict[str, str]]]
ALL: dict[str, Reads] = {"policy": policy, "moderation": moderation, "ledger": ledger, "edge": edge}


async def asked(file: str, environ: Mapping[str, str]) -> dict[str, object]:
    """{"uncallable": {deployment: why}} or {"refused": why, "by": a service's name}."""
    uncallable: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="tollgate-check-") as scratch:
        given = {"TOLLGATE_EDGE_HOST": "127.0.0.1", **environ, "TOLLGATE_CONFIG": file, "TOLLGATE_DATA_DIR": scratch}
        for name, reads in ALL.items():
            try:
                uncallable |= await reads(given)
            except (ConfigError, SettingsError) as refusal:
                return {"refused": str(refusal), "by": name}
    return {"uncallable": uncallable}


def main(arguments: list[str]) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    said = sys.stdout
    sys.stdout = sys.stderr  # what the operator's own Python prints isn't ours
    print(json.dumps(asyncio.run(asked(arguments[0], os.environ))), file=said, flush=True)
    return 0
