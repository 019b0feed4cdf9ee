"""The commands. `tollgate` without one runs everything, with LiteLLM's flags."""

import runpy
import sys
from collections.abc import Callable, Sequence

from services.cli import apply, check, import_litellm, run
from shared.command import run as run_command
from shared.version import VERSION

SERVICES = ("edge", "policy", "moderation", "ledger")
OF_SERVICE = {
    "verify": ("ledger", "check that no row of the book was changed"),
    "rebuild": ("ledger", "compute every sum of the book again, beside the service (--check: only compare)"),
    "rebuild-rollups": ("ledger", "the same, by its older name"),
    "dump-control": ("ledger", "write the control facts of the audit log"),
    "spend": ("ledger", "what was spent, at a terminal"),
    "restore-traffic": (
        "ledger",
        "after the database was restored from a backup: what the broker still has, into the book",
    ),
    "rotate-checkpoint-key": ("ledger", "a new key for checkpoints, which the old one signs at the next start"),
    "drain-journal": ("edge", "send what the journal of an edge that is gone still holds"),
    "export": ("ledger", "the book's rows as Parquet, CSV or JSON Lines, into a folder or a bucket"),
    "reseal": ("policy", "every sealed value in CONTROL under the current sealing key"),
    "restore-control": ("policy", "fill an empty CONTROL stream from dump-control's output"),
}
"""Command → (the service that has it, what it does)."""

OWN: dict[str, Callable[[list[str]], int]] = {
    "run": run.command,
    "check-config": check.command,
    "apply": apply.command,
    "import-litellm": import_litellm.command,
}

HELP = f"""usage: tollgate [run] [--config FILE] [--port N] [--host HOST] [--detailed_debug] [LiteLLM's other flags]
       tollgate COMMAND

  run              everything on this machine, with its own NATS and PostgreSQL unless others are named
  check-config     what every key of a config.yaml does, and how each model is served
  apply            teams, users, customers and keys as a file says, with a plan
  import-litellm   take over keys, teams, users, budgets and spend from a LiteLLM database
  doctor           look at everything a service needs, with its environment
  {", ".join(SERVICES)}
                   one service of that kind, as TOLLGATE_... variables say
{"".join(f"  {name:<16} {what}{chr(10)}" for name, (_, what) in OF_SERVICE.items())}
`tollgate run --help` has the flags."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: the command's; 2 for a wrong one."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given[0] if given else "run"
    if command in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if command in ("--version", "-v", "version"):
        print(f"tollgate {VERSION}")
        return 0
    if command.startswith("-"):
        return run.command(given)
    if command in OWN:
        return run_command(OWN[command], given[1:])
    if command == "doctor":
        return _module(command, given[1:])
    if command in SERVICES:
        return _module(command, given[1:])
    if command in OF_SERVICE:
        return _module(OF_SERVICE[command][0], given)
    print(f"tollgate: there is no command {command!r}\n\n{HELP}", file=sys.stderr)
    return 2


def _module(service: str, arguments: list[str]) -> int:
    """As `python -m services.<service> ...`, in this process."""
    sys.argv = [f"tollgate {service}", *arguments]
    try:
        runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 2
        return stop.code or 0
    return 0
