"""Writes docs/configuration.md from the settings' tables: python tools/make_configuration.py."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from shared.config import without_effect
from shared.config.fields import known
from shared.config.schema import EntryInfo, EntryParams, GeneralSettings, LitellmSettings, RouterSettings

SECTIONS: list[tuple[str, type[Struct], dict[str, str]]] = [
    ("general_settings", GeneralSettings, without_effect.GENERAL),
    ("litellm_settings", LitellmSettings, without_effect.LITELLM),
    ("router_settings", RouterSettings, without_effect.ROUTER),
    ("model_list[].litellm_params", EntryParams, without_effect.ENTRY),
    ("model_list[].model_info", EntryInfo, {}),
]
HEAD = """# config.yaml, key by key

Made by `tools/make_configuration.py` from the tables in `shared/config/`. `tollgate check-config FILE` says the same of a file of yours.

`os.environ/NAME` as a value, and `${NAME}` or `${NAME:-default}` anywhere in one, stand for environment variables; an empty variable is a
missing one. A secret may also name its manager: `vault/NAME`, `aws_secret/NAME`, `azure_kv/NAME`, `gcp_secret/NAME`, `file/PATH`.
A model that can't be served is left out, and says why when it is called; what protects and can't be enforced refuses the start, unless
`general_settings.allow_unenforced` names it.
"""


def meanings(kind: type[Struct]) -> dict[str, str]:
    """Field → its docstring."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    found = {}
    for field, following in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(following, ast.Expr) and isinstance(field.target, ast.Name):
            found[field.target.id] = " ".join(str(ast.literal_eval(following.value)).split())
    return found


def text() -> str:
    parts = [HEAD]
    for name, kind, idle in SECTIONS:
        said = meanings(kind)
        parts.append(f"\n## {name}\n\n| key | meaning | who acts |\n|---|---|---|\n")
        for key, field in known(kind).items():
            who = ", ".join(field.by.services) or "nobody yet"
            note = f" ({field.by.differently})" if field.by.differently else ""
            parts.append(f"| `{key}` | {said[field.name].replace('|', chr(92) + '|')} | {who}{note} |\n")
        if idle:
            parts.append("\n| without effect | why |\n|---|---|\n")
            parts += [f"| `{key}` | {why.lstrip('=~ ')} |\n" for key, why in sorted(idle.items())]
    return "".join(parts)


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").write_text(text())
