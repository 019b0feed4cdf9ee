"""Python of the operator's own that is told of every call, or asked before one (`callbacks:
[my_module.my_instance]`): whether such a file can be.

It is looked at here, not run: the ledger runs what is told (services/ledger/sinks), the edge what
is asked (services/edge/own_hooks.py). See docs/callbacks.md.
"""

import ast
import importlib.util
import os
import re
import sys
from pathlib import Path

from shared import stand_ins

METHOD = "record"
EVENTS = ("async_log_success_event", "async_log_failure_event", "log_success_event", "log_failure_event")
"""LiteLLM's, of a call that is over."""
BEFORE = ("async_pre_call_hook", "async_moderation_hook")
"""LiteLLM's, that change or refuse a call before it goes to a provider."""
AFTER = ("async_post_call_success_hook",)
"""LiteLLM's, that change or refuse an answer in one piece."""
NOT_CALLED = frozenset(
    {
        "async_pre_call_deployment_hook",
        "async_post_call_failure_hook", "async_post_call_streaming_hook", "async_post_call_streaming_iterator_hook",
        "async_post_call_success_deployment_hook", "async_filter_deployments", "async_get_chat_completion_prompt",
    }
)  # fmt: skip
"""LiteLLM's, that change a stream, or choose who is asked."""
BYTES_MAX = 1024 * 1024
_SEE = "see docs/callbacks.md"


def why_not(name: str, directory: str) -> str:
    """Why `module.attribute` can't be told of calls; empty: it can."""
    module, _, attribute = name.rpartition(".")
    tree = tree_of(name, directory)
    if isinstance(tree, str):
        return tree
    missing = stand_ins.missing(tree)
    if missing:
        return f"its file imports {missing}, which isn't here: {_SEE}"
    if absent := _absent(tree, directory):
        return f"its file imports {absent}, which isn't installed here"
    if attribute not in names_of(tree):
        return f"{module} has no {attribute}"
    methods = _methods(tree)
    if methods.isdisjoint((METHOD, *EVENTS, *BEFORE, *AFTER)):
        others = ", ".join(sorted(methods & NOT_CALLED))
        return f"it has no {METHOD}, nor LiteLLM's async_log_success_event{f'; {others} is not called' if others else ''}: {_SEE}"
    return ""


def not_called(name: str, directory: str) -> list[str]:
    """Methods of one that is told, which LiteLLM would call and we don't."""
    tree = tree_of(name, directory)
    return [] if isinstance(tree, str) else sorted(_methods(tree) & NOT_CALLED)


def tells(name: str, directory: str) -> bool:
    """Whether one that can be is told of calls that are over."""
    return _has(name, directory, (METHOD, *EVENTS))


def changes(name: str, directory: str) -> bool:
    """Whether one that can be is asked before a call, or about its answer."""
    return _has(name, directory, (*BEFORE, *AFTER))


def changes_answers(name: str, directory: str) -> bool:
    return _has(name, directory, AFTER)


_PROTECTING = re.compile(
    r"guard|filter|block|mask|redact|pii|moderat|inject|secur|safe|polic|protect|dlp|saniti|limit|budget|auth|secret", re.IGNORECASE
)  # fmt: skip


def protects(name: str, directory: str) -> bool:
    """Whether one that can't be had may be what keeps something from going out: it has methods that
    change or refuse a call; or nobody can see what it has, and its name says so.
    """
    if isinstance(tree_of(name, directory), str):
        return _PROTECTING.search(name) is not None
    return changes(name, directory)


def named(value: object) -> list[str]:
    """Python of the operator's own among the names of a list of callbacks."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return list(dict.fromkeys(str(name) for name in names if "." in str(name)))


def _has(name: str, directory: str, methods: tuple[str, ...]) -> bool:
    tree = tree_of(name, directory)
    return not isinstance(tree, str) and not _methods(tree).isdisjoint(methods)


def _absent(tree: ast.Module, directory: str) -> str:
    """A package that the file imports at its start and that isn't installed, nor beside the
    configuration; empty: none.
    """
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for root in (name.partition(".")[0] for name in names):
            beside = Path(directory, root)
            is_here = root in ("litellm", "fastapi") or root in sys.modules or beside.is_dir()
            if not is_here and not beside.with_suffix(".py").is_file() and importlib.util.find_spec(root) is None:
                return root
    return ""


def _methods(tree: ast.Module) -> set[str]:
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def names_of(tree: ast.Module) -> set[str]:
    """What a file defines at its top level."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def tree_of(name: str, directory: str) -> ast.Module | str:
    """The file of `module.attribute`, read and not run; or why it can't be."""
    module = name.rpartition(".")[0]
    path = file_of(module, directory)
    if path is None or not path.is_file():
        return f"it is Python of your own, and there is no {module.replace('.', '/')}.py beside the configuration, nor along PYTHONPATH"
    try:
        if path.stat().st_size > BYTES_MAX:
            return "its file is too large"
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return "its file is no Python"


def file_of(module: str, directory: str) -> Path | None:
    """The module's file: beside the configuration or below, else where PYTHONPATH has it; None for
    what isn't a module's name.
    """
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    beside = Path(directory, *parts).with_suffix(".py")
    others = (
        Path(each, *parts).with_suffix(".py") for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each
    )
    return beside if beside.is_file() else next((each for each in others if each.is_file()), beside)
