"""Import whatever Tollgate imports, anywhere: also what is only reached inside a function (a secret
manager's client, a cache's). `python imports.py ROOT`, in the image's build stage, after slim.py.

Ends with an error where something is missing: the image would find out when it is needed.
"""

import ast
import importlib
import sys
from pathlib import Path

OPTIONAL = ("duckdb", "pyarrow")
"""For checking exported files by other means; not in the image."""
NOT_IN_IMAGE = "services/suite"


def imported(root: Path) -> set[str]:
    """Names of modules, our own left out."""
    found: set[str] = set()
    for path in [*(root / "services").rglob("*.py"), *(root / "shared").rglob("*.py")]:
        if NOT_IN_IMAGE in path.as_posix():
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name for name in found if name.partition(".")[0] not in ("services", "shared", *OPTIONAL)}


def main(root: Path) -> None:
    sys.dont_write_bytecode = True
    missing = []
    for name in sorted(imported(root)):
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name}: {error}")
    if missing:
        sys.exit("can't be imported:\n" + "\n".join(missing))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
