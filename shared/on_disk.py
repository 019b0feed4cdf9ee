"""Names in a directory, kept past a crash."""

import os
from pathlib import Path


def synced(directory: Path) -> None:
    """What was made, renamed or taken away in it is so for good. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
