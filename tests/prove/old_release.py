"""The code of an earlier release, from the repository's history."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.suite import ROOT

OLD = os.environ.get("PROVE_OLD_COMMIT", "93d4615")
"""The last commit before checkpoints, logins, payloads and alerts came."""


def unpacked(to: Path, commit: str = OLD) -> Path:
    """Skips the test where the clone has no such commit."""
    found = subprocess.run(["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True)
    if found.returncode:
        pytest.skip(f"no history here: commit {commit} isn't in this clone ({found.stderr.decode().strip()[:100]})")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(to, filter="data")
    return to
