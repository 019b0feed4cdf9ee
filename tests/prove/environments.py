"""Python environments of their own, for libraries that can't be beside the project's packages."""

import subprocess
import sys
from pathlib import Path

MADE_S = 1_200
"""torch alone is a gigabyte."""


def python_with(*packages: str) -> str:
    """A Python beside the project's own with these in it; made again where making it was cut
    short.
    """
    python = Path(sys.prefix) / packages[0] / "bin" / "python"
    made = python.parent.parent / "made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(python.parent.parent)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True, timeout=MADE_S)
        made.touch()
    return str(python)
