"""One row of the table of routes, and how a path is matched with it. Pure."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

NO_SCHEMA: dict[str, Any] = {}
"""In `request` and `answer`: any JSON."""


class Parameter(msgspec.Struct, frozen=True):
    """Of a query."""

    name: str
    description: str = ""
    required: bool = False
    type: str = "string"
    """JSON schema's word: string, integer, number, boolean."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that HTTP clients may ask of us. Two rows may share a path where their methods
    differ.
    """

    name: str
    """Unique. The path without /v1, with its parameters in braces; with `<METHOD> ` before it where
    another row has that path too. What policy decides by, and what facts and metrics say."""
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    """Every spelling: exact paths, and templates (`/audit/{id}`; `{key:path}` stands for several
    segments).
    """
    surface: str
    """Who answers: a name of the edge's table of surfaces. `management` is policy's, `ledger` is
    the ledger's.
    """
    groups: frozenset[str] = frozenset()
    """LiteLLM's lists of routes that this one is in (litellm_groups.py fills them in)."""
    model_from: str = ""
    """Where the model's name is: `body`, `path` (the parameter `model`); empty: a call here has
    none.
    """
    call_type: str = ""
    """LiteLLM's name of the call, in the book."""
    mutates: bool = False
    """Whether it changes what others see: such a route leaves a control fact."""
    summary: str = ""
    query: tuple[Parameter, ...] = ()
    request: Any = None
    """The body: a msgspec Struct, or a JSON schema. None: it takes none."""
    answer: Any = NO_SCHEMA
    """What 200 carries, likewise. None: nothing that is JSON."""
    mints: str = ""
    """The body's field that may hold a key the caller chose; the edge makes one where it is empty.
    Only its digest travels.
    """
    seals: str = ""
    """The body's field whose secrets the edge seals: they travel in `sealed`, and nobody but edges
    can open them.
    """
    required: str = ""
    """The request field an LLM route can't do without, besides `model`."""
    upstream_path: str = ""
    """Of an LLM route: appended to the deployment's api_base."""

    @property
    def public(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.surface in ("health", "site") or "public_routes" in self.groups


class Match(msgspec.Struct, frozen=True):
    """A route, and what its path's parameters stand for."""

    route: Route
    params: dict[str, str] = {}
    path: str = ""
    """As it was asked for."""


_PARAMETER = re.compile(r"\{([a-z_]+)(:path)?\}")


def parameters(template: str) -> list[str]:
    """The names of a template's parameters, in order."""
    return [found[1] for found in _PARAMETER.finditer(template)]


def pattern(template: str) -> re.Pattern[str]:
    """A template as an expression on whole paths. Linear on every path, as at most one parameter
    has slashes in it.

    Raises ValueError for a template with two of those.
    """
    if template.count(":path}") > 1:
        raise ValueError(f"{template}: only one parameter may stand for several segments")
    pieces, end = [], 0
    for found in _PARAMETER.finditer(template):
        pieces.append(re.escape(template[end : found.start()]))
        pieces.append(f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})")
        end = found.end()
    return re.compile("".join((*pieces, re.escape(template[end:]))), re.DOTALL)


def without_names(template: str) -> str:
    """`/audit/{id}` → `/audit/{}`: two templates that match the same paths are equal so."""
    return _PARAMETER.sub("{}", template)


class Table:
    """The rows, ready to be searched: exact paths first, then templates, the more literal ones
    first.

    Raises ValueError where two rows have one name, or one path and method.
    """

    def __init__(self, rows: Iterable[Route]) -> None:
        self.rows = tuple(rows)
        self.by_name = {row.name: row for row in self.rows}
        if len(self.by_name) != len(self.rows):
            names = [row.name for row in self.rows]
            raise ValueError(f"two routes are called {next(n for n in names if names.count(n) > 1)}")
        self._exact: dict[str, dict[str, Match]] = {}
        by_template: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for row in self.rows:
            for path in row.paths:
                for method in row.methods:
                    if "{" in path:
                        methods = by_template.setdefault(without_names(path), (pattern(path), {}))[1]
                        taken = method in methods
                        methods[method] = row
                    else:
                        matches = self._exact.setdefault(path, {})
                        taken = method in matches
                        matches[method] = Match(row, path=path)
                    if taken:
                        raise ValueError(f"two routes answer {method} {path}")
        self._templates: dict[str, list[tuple[re.Pattern[str], dict[str, Route]]]] = {}
        """First segment → templates that begin with it."""
        for template in sorted(by_template, key=lambda t: (".+" in by_template[t][0].pattern, t.count("{}"), -len(t))):
            self._templates.setdefault(template.split("/")[1], []).append(by_template[template])

    def find(self, method: str, path: str) -> Match | tuple[str, ...]:
        """The row and its parameters; else the methods that this path has, none where nobody knows
        it.
        """
        matches = self._exact.get(path)
        if matches is not None:
            found = matches.get(method)
            return found if found is not None else tuple(matches)
        for expression, methods in self._templates.get(path[1:].partition("/")[0], ()):
            hit = expression.fullmatch(path)
            if hit is not None:
                row = methods.get(method)
                return tuple(methods) if row is None else Match(row, hit.groupdict(), path)
        return ()
