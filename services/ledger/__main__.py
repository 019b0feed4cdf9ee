"""`python -m services.ledger`: the service. The rest are commands, in COMMANDS; see the files of
those names.
"""

import sys
from collections.abc import Callable

from services.ledger import app, dump, export, rebuild, restore, signing, terminal, verify
from shared import command, service

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "rebuild": rebuild.command,
    "rebuild-rollups": rebuild.command,
    "verify": verify.command,
    "dump-control": dump.command,
    "spend": terminal.main,
    "export": export.command,
    "restore-traffic": restore.command,
    "rotate-checkpoint-key": signing.command,
}
"""Name → (arguments) → exit status."""


def main(arguments: list[str]) -> None:
    if not arguments:
        service.run("ledger", app.main)
    elif arguments[0] in COMMANDS:
        sys.exit(command.run(COMMANDS[arguments[0]], arguments[1:]))
    else:
        sys.exit(f"usage: python -m services.ledger [{' | '.join(COMMANDS)}]")


if __name__ == "__main__":
    main(sys.argv[1:])
