"""`python -m services.edge`: the service. `drain-journal FILE` is a command; see drain.py."""

import sys

from services.edge import app, drain
from shared.service import run


def main(arguments: list[str]) -> None:
    if not arguments:
        run("edge", app.main)
    elif arguments[0] == "drain-journal" and len(arguments) == 2:
        sys.exit(drain.main(arguments[1]))
    else:
        sys.exit("usage: python -m services.edge [drain-journal FILE]")


if __name__ == "__main__":
    main(sys.argv[1:])
