"""Python of the operator's own that is told of every call (`callbacks: [my_module.my_instance]`): whether such a file is one of ours.

It is looked at, not run: only the ledger runs it (services/ledger/sinks). LiteLLM's classes import LiteLLM, and are told of other things.
See docs/callbacks.md.
"""

import ast
from pathlib import Path

METHOD = "record"
BYTES_MAX = 1024 * 1024
_SEE = "see docs/callbacks.md for ours"


def why_not(name: str, directory: str) -> str:
    """Why `module.attribute` can't be told of calls; empty: it can."""
    module, _, attribute = name.rpartition(".")
    tree = tree_of(name, directory)
    if isinstance(tree, str):
        return tree
    imported = {
        each.split(".")[0]
        for node in ast.walk(tree)
        for each in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    if "litellm" in imported:
        return f"written for LiteLLM, which isn't here: {_SEE}"
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    } | {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    if attribute not in names:
        return f"{module} has no {attribute}"
    return "" if METHOD in methods else f"it has no method {METHOD}: {_SEE}"


def tree_of(name: str, directory: str) -> ast.Module | str:
    """The file of `module.attribute`, read and not run; or why it can't be."""
    module = name.rpartition(".")[0]
    path = file_of(module, directory)
    if path is None or not path.is_file():
        return f"it is Python of your own, and there is no {module.replace('.', '/')}.py beside the configuration"
    try:
        if path.stat().st_size > BYTES_MAX:
            return "its file is too large"
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return "its file is no Python"


def file_of(module: str, directory: str) -> Path | None:
    """The module's file, beside the configuration or below; None for what isn't a module's name."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    return Path(directory, *parts).with_suffix(".py")
