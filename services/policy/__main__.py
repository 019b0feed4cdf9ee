"""`python -m services.policy`: the service. Commands: `restore-control` (restore.py), `reseal`
(resealing.py), `import-litellm` (importing/).
"""

import sys

from services.policy import app, resealing, restore
from shared.service import run


def main(arguments: list[str]) -> None:
    if not arguments:
        run("policy", app.main)
    elif arguments[0] == "restore-control" and len(arguments) <= 2:
        sys.exit(restore.main(arguments[1:]))
    elif arguments[0] == "reseal":
        sys.exit(resealing.main(arguments[1:]))
    elif arguments[0] == "import-litellm":
        # With what opens LiteLLM's secrets: nothing a service needs.
        from services.policy.importing import run as importing  # noqa: PLC0415

        sys.exit(importing.main(arguments[1:]))
    else:
        sys.exit(
            "usage: python -m services.policy [restore-control [FILE] | import-litellm [--dry-run] [--overwrite] | reseal [--dry-run]]"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
