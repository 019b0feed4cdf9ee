"""`python -m services.ledger`: the service. The rest are commands: `rebuild-rollups [--check]`, `verify`, `dump-control`; see the files of
these names."""

import sys

from services.ledger import app, dump, rebuild, verify
from shared import service


def main(arguments: list[str]) -> None:
    if not arguments:
        service.run("ledger", app.main)
    elif arguments[0] == "rebuild-rollups" and set(arguments[1:]) <= {"--check"}:
        sys.exit(rebuild.main(check_only="--check" in arguments))
    elif arguments == ["verify"]:
        sys.exit(verify.main())
    elif arguments == ["dump-control"]:
        sys.exit(dump.main())
    else:
        sys.exit("usage: python -m services.ledger [rebuild-rollups [--check] | verify | dump-control]")


if __name__ == "__main__":
    main(sys.argv[1:])
