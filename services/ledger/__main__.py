"""`python -m services.ledger`: the service. `python -m services.ledger rebuild-rollups [--check]`: see rebuild.py."""

import sys

from services.ledger import app, rebuild
from shared import service


def main(arguments: list[str]) -> None:
    if not arguments:
        service.run("ledger", app.main)
    elif arguments[0] == "rebuild-rollups" and set(arguments[1:]) <= {"--check"}:
        sys.exit(rebuild.main(check_only="--check" in arguments))
    else:
        sys.exit("usage: python -m services.ledger [rebuild-rollups [--check]]")


if __name__ == "__main__":
    main(sys.argv[1:])
