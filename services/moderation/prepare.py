"""`python -m services.moderation.prepare`: compiles the scanning rules into the cache, so that a
start needn't. For images.
"""

import os
from pathlib import Path

from services.moderation.config import ModerationSettings, cache_dir
from services.moderation.secrets.vendor import Vendor
from shared import settings


def main() -> None:
    directory = cache_dir(settings.read(ModerationSettings, os.environ).cache_dir, os.environ) / "kingfisher"
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    print(f"scanning rules: {Vendor(str(directory)).cache_status}")


if __name__ == "__main__":
    main()
