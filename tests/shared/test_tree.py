"""A file of Python has one subject, and at most as many lines as one sitting can read."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 400
WHOLE = {"services/ledger/offline.py"}
"""An auditor copies this one file and needs nothing else of Tollgate."""


def test_a_file_has_at_most_400_lines() -> None:
    found = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    lengths = {name: (ROOT / name).read_bytes().count(b"\n") for name in found.stdout.split() if (ROOT / name).exists()}
    assert len(lengths) > 500
    assert {name for name, lines in lengths.items() if lines > LINES_MAX} == WHOLE
