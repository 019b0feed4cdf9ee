"""The operator's own Python, named in config.yaml as LiteLLM does: `my_file.my_thing`, the file
beside config.yaml.
"""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from shared import stand_ins


class OwnCodeError(Exception):
    """It can't be had; the message says which file and what went wrong in it."""


def load(directory: str, dotted: str) -> Any:
    """What `dotted` names. Raises OwnCodeError.

    Args:
        directory: config.yaml's.
    """
    path, _, name = dotted.rpartition(".")
    if not re.fullmatch(r"\w+(\.\w+)*", path):
        raise OwnCodeError(f"{path!r} is no module")
    file = (Path(directory) / (path.replace(".", "/") + ".py")).resolve()
    if not file.is_file():
        raise OwnCodeError(f"there is no file {file}")
    try:
        return getattr(module(file, f"tollgate_custom_{file.stem}", directory), name)
    except Exception as error:
        raise OwnCodeError(f"{file}: {type(error).__name__}: {error}") from None


def module(file: Path, name: str, directory: str) -> Any:
    """The file, run anew. It may import its neighbours; what Python has under a name of theirs goes
    before. Raises whatever it raises.

    Args:
        name: what Python knows it as.
        directory: config.yaml's.
    """
    if directory not in sys.path:
        sys.path.append(directory)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    stand_ins.install()
    spec.loader.exec_module(made)
    return made
