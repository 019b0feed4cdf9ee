"""From a file to a tree of plain values: bounded, whatever is in the file. No meaning yet.

BOM and any line ends are taken. A key that comes twice in one mapping is named (the last one
stands, as in every YAML reader).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from shared.config.errors import ConfigError

CONFIG_BYTES_MAX = 16 * 1024 * 1024
DEPTH_MAX = 100
INCLUDES_MAX = 50

_INCLUDE = re.compile(r"\binclude\b|\\")
"""What a text with the key `include` has, which may be written with escapes; others needn't be
parsed for it.
"""
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """Collects what comes twice; texts that look like dates stay texts (a model may be called
    2024-08-06).
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        self.repeated.append(
                            f"line {key.start_mark.line + 1}: {key.value} is there twice, the last one stands"
                        )
                    seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}


def text_of(path: str) -> str:
    """Raises ConfigError."""
    file = Path(path)
    try:
        if file.stat().st_size > CONFIG_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {CONFIG_BYTES_MAX} bytes")
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None


def tree(text: str, name: str) -> tuple[dict[str, Any], list[str]]:
    """(the top level, warnings). Raises ConfigError."""
    text = text.removeprefix("\ufeff")
    try:
        _refuse_deep_nesting(yaml.parse(text, Loader=_BASE))
        loader = _Loader(text)
        try:
            top = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(
            f"{name}{where}: not valid YAML ({getattr(error, 'problem', None) or 'unreadable'})"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError):  # what the reader of dates and numbers lets through
        raise ConfigError(f"{name}: not valid YAML (a date or number that is none)") from None
    if top is None:
        return {}, []
    if not isinstance(top, dict):
        raise ConfigError(f"{name}: the top level must be a mapping")
    return top, [f"{name} {sentence}" for sentence in loader.repeated]


def _refuse_deep_nesting(events: Iterable[Any]) -> None:
    """The C loader recurses without a limit of its own, and would take the process down."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def whole(text: str, name: str, directory: str) -> tuple[dict[str, Any], list[str]]:
    """(the file's tree with what it includes, what is to be said of them). Raises ConfigError."""
    top, repeated = tree(text, name)
    top, more = with_includes(top, Path(directory))
    return top, [*repeated, *more]


def with_includes(top: dict[str, Any], directory: Path) -> tuple[dict[str, Any], list[str]]:
    """LiteLLM's `include`: each file's lists are appended, its mappings merged, what else there is
    replaced.
    """
    names = top.pop("include", None) or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names) or len(names) > INCLUDES_MAX:
        raise ConfigError(f"include must be a list of at most {INCLUDES_MAX} file names")
    warnings: list[str] = []
    for name in names:
        more, said = tree(text_of(str(directory / name)), name)
        warnings += said
        if "include" in more:
            raise ConfigError(f"{name}: an included file can't include others")
        for key, value in more.items():
            mine = top.get(key)
            if isinstance(mine, list) and isinstance(value, list):
                top[key] = mine + value
            elif isinstance(mine, dict) and isinstance(value, dict):
                top[key] = {**mine, **value}
            else:
                top[key] = value
    return top, warnings


def included(path: str) -> list[Path]:
    """The files that it includes, as far as it can be read."""
    try:
        text = text_of(path)
        if _INCLUDE.search(text) is None:
            return []
        names = tree(text, path)[0].get("include") or []
    except ConfigError:
        return []
    names = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    return [Path(path).parent / str(name) for name in names[:INCLUDES_MAX]]
