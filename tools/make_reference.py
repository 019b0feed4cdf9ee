"""`make docs`: docs/reference/*.md from the code itself: settings, LiteLLM's configuration key by
key, routes, subjects, facts, errors, metrics.

Nothing in there is written by hand, so nothing can be out of date but by not having been made
again: a test compares.
"""

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import REGISTRY

from shared import errors, facts, routes, subjects
from shared.config import schema, without_effect
from shared.config.fields import By

ROOT = Path(__file__).resolve().parent.parent
_SO = {"=": "so anyway", "~": "differently"}
"""How a reason of `without_effect` begins → what comes of its key."""
REFERENCE = ROOT / "docs" / "reference"
HEAD = "<!-- Made by `make docs` from the code: don't edit. -->\n\n"
SETTINGS = (
    ("edge", "services.edge.config", "EdgeSettings"),
    ("policy", "services.policy.config", "PolicySettings"),
    ("moderation", "services.moderation.config", "ModerationSettings"),
    ("ledger", "services.ledger.config", "LedgerSettings"),
    ("every service: TLS to the broker", "shared.bus_tls", "BusSettings"),
    ("every service: secrets of a manager", "shared.startup", "SecretSettings"),
    ("`python -m services`", "services.suite.settings", "SuiteSettings"),
)


def documented(kind: type) -> dict[str, str]:
    """Field -> the string behind it, of a class and those it comes from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-2]):
        try:
            tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(each)))
        except (OSError, TypeError):
            continue
        body = tree.body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                text = ""
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    text = str(after.value.value)
                found[statement.target.id] = cell(text)
    return found


def cell(text: object) -> str:
    """One line, safe inside a table."""
    return re.sub(r"\s+", " ", str(text)).strip().replace("|", "\\|")


def plain(kind: Any) -> str:
    """A type as people write it."""
    text = str(kind) if typing.get_origin(kind) is not None else getattr(kind, "__name__", str(kind))
    text = re.sub(r"typing\.|typing_extensions\.|msgspec\.\w+\.|shared\.[\w.]*\.|<class '([^']*)'>", r"\1", text)
    text = re.sub(r"Annotated\[([\w\[\], |]+?), (?:Meta|By|<).*\]$", r"\1", text)
    return cell(text).replace("NoneType", "None")


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return "" if field.default in ("", None) else f"`{cell(field.default)}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{cell(field.default_factory())}`"
    return "must be set"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def settings() -> str:
    text = "# Settings\n\nEnvironment variables, read once at a service's start. A wrong one refuses the start with a sentence.\n"
    for title, module, name in SETTINGS:
        kind = getattr(importlib.import_module(module), name)
        words = documented(kind)
        rows = [
            (f"`TOLLGATE_{field.name.upper()}`", default(field), words.get(field.name, ""))
            for field in msgspec.structs.fields(kind)
        ]
        text += f"\n## {title}\n\n{table(('variable', 'default', 'what'), rows)}"
    return text


def litellm_config() -> str:
    text = (
        "# LiteLLM's config.yaml, key by key\n\nWhat each key does here. `tollgate check-config FILE` says the same of your"
        " file.\nUnknown keys are named in a warning; wrong values refuse the start with a sentence that says where.\n"
    )
    for title, kind, without in (
        ("general_settings", schema.GeneralSettings, without_effect.GENERAL),
        ("litellm_settings", schema.LitellmSettings, without_effect.LITELLM),
        ("router_settings", schema.RouterSettings, without_effect.ROUTER),
    ):
        words = documented(kind)
        hints = typing.get_type_hints(kind, include_extras=True)
        rows = [(f"`{name}`", *acts(hint), words.get(name, "")) for name, hint in hints.items()]
        rows += [
            (f"`{name}`", _SO.get(reason[:1], "no effect"), cell(reason.lstrip("=~")))
            for name, reason in without.items()
        ]
        text += f"\n## {title}\n\n{table(('key', 'here', 'what'), rows)}"
    return text


def acts(hint: Any) -> tuple[str]:
    by = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, By)), None)
    if by is None or not by.services:
        protects = by is not None and by.protects
        return ("refuses the start until it acts" if protects else "read and checked, not used yet",)
    who = ", ".join(by.services)
    return (f"differently ({who}): {cell(by.differently)}" if by.differently else f"acts ({who})",)


def route_table() -> str:
    rows = [
        (
            ", ".join(row.methods),
            ", ".join(f"`{path}`" for path in row.paths),
            row.surface,
            "nobody asked" if row.public else "",
            cell(row.summary),
        )
        for row in routes.TABLE.rows
    ]
    return "# Routes\n\n" + table(("methods", "paths", "who answers", "key", "what"), rows)


def bus_table() -> str:
    rows = [
        (
            f"`{cell(door.name or door.subject)}`",
            door.owner,
            ", ".join(door.users),
            "flows to the users" if door.feed else "answered on the owner's side",
        )
        for door in subjects.DOORS
    ]
    text = "# The bus\n\nEach service has an account of its own on the broker. These are all doors between them.\n\n"
    return text + table(("subject", "owner", "may be used by", ""), rows)


def fact_tables() -> str:
    text = "# Facts\n\nOn TRAFFIC as msgpack arrays in this order of fields; control facts as JSON. Fields are only ever appended.\n"
    for kind in (facts.Opened, facts.Settled, facts.Refused, facts.ControlFact, facts.Caller):
        words = documented(kind)
        rows = [(f"`{field.name}`", words.get(field.name, "")) for field in msgspec.structs.fields(kind)]
        about = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
        text += f"\n## {kind.__name__}\n\n{cell(about)}\n\n{table(('field', 'what'), rows)}"
    return text


def error_table() -> str:
    """Codes, from the calls that make refusals: `Refusal("code", status, ...)` and `_auth("code",
    ...)`.
    """
    files = sorted(Path(errors.__file__).parent.glob("*.py"))
    trees = [ast.parse(file.read_text()) for file in files]
    rows = []
    for function in [each for tree in trees for each in tree.body if isinstance(each, ast.FunctionDef)]:
        for call in [each for each in ast.walk(function) if isinstance(each, ast.Call)]:
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in ("Refusal", "_auth") and call.args and isinstance(call.args[0], ast.Constant):
                status = "401"
                for keyword in call.keywords:
                    if keyword.arg == "status" and isinstance(keyword.value, ast.Constant):
                        status = str(keyword.value.value)
                if name == "Refusal" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
                    status = str(call.args[1].value)
                rows.append(
                    (
                        f"`{call.args[0].value!s}`",
                        status,
                        cell(ast.get_docstring(function) or function.name.replace("_", " ")),
                    )
                )
    return "# Refusals\n\nThe code is what facts, metrics and the book have; clients get OpenAI's shape.\n\n" + table(
        ("code", "status", "when"), sorted(set(rows))
    )


def metric_table() -> str:
    for service in ("edge", "policy", "moderation", "ledger"):
        importlib.import_module(f"services.{service}.app")
    found = {
        family.name: (family.type, family.documentation)
        for family in REGISTRY.collect()
        if family.name.startswith("tollgate")
    }
    rows = [(f"`{name}`", kind, cell(text)) for name, (kind, text) in sorted(found.items())]
    return "# Metrics\n\nOn `/metrics`. Label values come from closed sets.\n\n" + table(("name", "type", "what"), rows)


FILES = {
    "settings.md": settings,
    "litellm-config.md": litellm_config,
    "routes.md": route_table,
    "bus.md": bus_table,
    "facts.md": fact_tables,
    "errors.md": error_table,
    "metrics.md": metric_table,
}


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        (REFERENCE / name).write_text(HEAD + make())


if __name__ == "__main__":
    main()
