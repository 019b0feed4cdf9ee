"""`python -m services.policy`: the service. `restore-control [FILE]` is a command; see restore.py."""

import sys

from services.policy import app, restore
from shared.service import run


def main(arguments: list[str]) -> None:
    if not arguments:
        run("policy", app.main)
    elif arguments[0] == "restore-control" and len(arguments) <= 2:
        sys.exit(restore.main(arguments[1:]))
    else:
        sys.exit("usage: python -m services.policy [restore-control [FILE]]")


if __name__ == "__main__":
    main(sys.argv[1:])
