"""All checks, and what comes of them. Exit status: 0 nothing is wrong, 1 something is."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from services.doctor import around, bus
from services.doctor.diagnosis import Check, Diagnosis
from shared import logging

CHECKS: dict[str, Check] = {
    "configuration": around.configuration,
    "disk": around.disk,
    "broker": bus.check,
    "database": around.database,
    "services": around.services,
}
"""In this order."""
MARKS = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  ", "skipped": "skipped"}


def main(arguments: Sequence[str]) -> int:
    unknown = set(arguments) - set(CHECKS)
    if unknown:
        print(f"usage: python -m services.doctor [{' | '.join(CHECKS)}] ...", file=sys.stderr)
        return 2
    logging.configure("doctor")
    findings = asyncio.run(examine(os.environ, arguments or list(CHECKS)))
    for level, what, detail in findings:
        print(f"{MARKS[level]}  {what}: {detail}")
    return 1 if any(finding.level == "wrong" for finding in findings) else 0


async def examine(environ: Mapping[str, str], wanted: Sequence[str]) -> list[Diagnosis]:
    """Every check that is wanted; one that fails by itself is a finding too."""
    found: list[Diagnosis] = []
    for name in CHECKS:
        if name in wanted:
            try:
                found += await CHECKS[name](environ)
            except Exception as error:  # a doctor that faints says nothing of the rest
                found.append(Diagnosis("wrong", name, f"the check failed: {type(error).__name__}: {str(error)[:120]}"))
    return found
