"""`python -m services.ledger`: the service. the rest are commands: `rebuild-rollups [--check]`, `verify`; see rebuild.py, verify.py."""

import sys

from services.ledger import app, rebuild, verify
from shared import service


def main(arguments: list[str]) -> None:
    if not arguments:
        service.run("ledger", app.main)
    elif arguments[0] == "rebuild-rollups" and set(arguments[1:]) <= {"--check"}:
        sys.exit(rebuild.main(check_only="--check" in arguments))
    elif arguments == ["verify"]:
        sys.exit(verify.main())
    else:
        sys.exit("usage: python -m services.ledger [rebuild-rollups [--check] | verify]")


if __name__ == "__main__":
    main(sys.argv[1:])
