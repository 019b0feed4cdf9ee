"""The few names of LiteLLM and FastAPI that the operator's Python imports, for files written for
LiteLLM that need no more than these.

Neither package is here. Where one is installed all the same it is left alone. What else a file
imports of them isn't there, and the file is refused with that name: nothing pretends to work.
"""

import ast
import builtins
import importlib.util
import logging
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from types import ModuleType
from typing import Any

from shared.ids import digest_key
from shared.said import Said

KEPT_MAX = 10_000
"""Of a hook's memory."""


class UserAPIKeyAuth:
    """Who somebody is, as `custom_auth` returns it. A field that wasn't given is None."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return None


class LitellmUserRoles(StrEnum):
    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEW_ONLY = "proxy_admin_viewer"
    ORG_ADMIN = "org_admin"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEW_ONLY = "internal_user_viewer"
    TEAM = "team"
    CUSTOMER = "customer"


class ProxyException(Exception):
    """A refusal: its message is for the client."""

    def __init__(
        self, message: str, type: str = "auth_error", param: str | None = None, code: Any = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.message, self.type, self.param, self.code = str(message), type, param, code


class HTTPException(Exception):
    """A refusal: its detail is for the client."""

    def __init__(self, status_code: int, detail: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status_code, self.detail, self.headers = status_code, detail, headers


class Request:
    """For annotations: what a function gets has the same attributes."""


ModelResponse = Said
"""What hooks that change answers get (services/edge/own_answers.py)."""


def hash_token(token: str) -> str:
    """A virtual key as the book knows it."""
    return digest_key(token)


class CustomLogger:
    """Base of classes that are told of calls (services/ledger/sinks)."""

    def __init__(self, *given: Any, **named: Any) -> None: ...


class DualCache:
    """A memory of this process, for hooks that are asked before a call: LiteLLM's without Redis.
    What was put there first goes first.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}

    async def async_set_cache(self, key: str, value: Any, ttl: float | None = None, **more: Any) -> None:
        self.set_cache(key, value, ttl)

    async def async_get_cache(self, key: str, **more: Any) -> Any:
        return self.get_cache(key)

    async def async_increment_cache(self, key: str, value: float = 1, ttl: float | None = None, **more: Any) -> float:
        self._kept[key] = ends, found = self._kept.get(key, (_ends(ttl), 0))[0], (self.get_cache(key) or 0) + value
        if ends <= time.monotonic():
            self._kept[key] = _ends(ttl), found
        return float(found)

    async def async_delete_cache(self, key: str) -> None:
        self._kept.pop(key, None)

    def set_cache(self, key: str, value: Any, ttl: float | None = None, **more: Any) -> None:
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = _ends(ttl), value

    def get_cache(self, key: str, **more: Any) -> Any:
        ends, value = self._kept.get(key, (0.0, None))
        return value if time.monotonic() < ends else None


def _ends(ttl: float | None) -> float:
    return time.monotonic() + ttl if ttl is not None else float("inf")


class _Status:
    """`status.HTTP_401_UNAUTHORIZED` and its like: the number in the name."""

    def __getattr__(self, name: str) -> int:
        kind, _, rest = name.partition("_")
        number = rest.partition("_")[0]
        if kind != "HTTP" or not number.isdigit():
            raise AttributeError(name)
        return int(number)


_LOG = logging.getLogger("operator")
_NAMES: dict[str, dict[str, Any]] = {
    "litellm": {"ModelResponse": ModelResponse},
    "litellm.proxy": {},
    "litellm.proxy._types": {
        "UserAPIKeyAuth": UserAPIKeyAuth, "LitellmUserRoles": LitellmUserRoles, "ProxyException": ProxyException,
    },
    "litellm.proxy.utils": {"hash_token": hash_token},
    "litellm.proxy.proxy_server": {
        "UserAPIKeyAuth": UserAPIKeyAuth, "ProxyException": ProxyException, "DualCache": DualCache,
    },
    "litellm.caching": {"DualCache": DualCache},
    "litellm.caching.caching": {"DualCache": DualCache},
    "litellm.caching.dual_cache": {"DualCache": DualCache},
    "litellm.integrations": {},
    "litellm.integrations.custom_logger": {"CustomLogger": CustomLogger, "UserAPIKeyAuth": UserAPIKeyAuth},
    "litellm.types": {},
    "litellm.types.utils": {"CallTypesLiteral": str, "ModelResponse": ModelResponse, "LLMResponseTypes": ModelResponse},
    "litellm._logging": {"verbose_logger": _LOG, "verbose_proxy_logger": _LOG},
    "fastapi": {"Request": Request, "HTTPException": HTTPException, "status": _Status()},
}  # fmt: skip
"""By module."""


def install() -> None:
    """Make them importable."""
    for root in ("litellm", "fastapi"):
        if root in sys.modules or importlib.util.find_spec(root) is not None:
            continue
        for name in [each for each in _NAMES if each.split(".")[0] == root]:
            module = ModuleType(name)
            module.__dict__.update(_NAMES[name], __path__=[])
            sys.modules[name] = module
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, module)


def missing(tree: ast.AST) -> str:
    """What a file imports of them at its start that isn't here: `litellm.proxy.x.y`. Empty:
    nothing.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_lacking(alias.name.split(".")[0]) and alias.name not in _NAMES:
                    return alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if not _is_lacking(node.module.split(".")[0]):
                continue
            here = _NAMES.get(node.module, {})
            for alias in node.names:
                if alias.name == "*" and node.module in _NAMES:
                    if name := _unbound(tree, here):
                        return f"{node.module}.{name}"
                elif alias.name not in here and f"{node.module}.{alias.name}" not in _NAMES:
                    return f"{node.module}.{alias.name}"
    return ""


def _unbound(tree: ast.AST, here: Mapping[str, Any]) -> str:
    """A name that a file uses and that can only come by the `*` of this import; empty: there is
    none, or others give all that they have, too.
    """
    bound, used = {*dir(builtins), *here, "__file__", "__class__"}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used.append(node.id)
            else:
                bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            module = node.module or ""
            if node.level or not _is_lacking(module.split(".")[0]):
                return ""
            bound.update(_NAMES.get(module, {}))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return next((name for name in used if name not in bound), "")


def _is_lacking(root: str) -> bool:
    if root not in ("litellm", "fastapi"):
        return False
    there = sys.modules.get(root)
    return there.__spec__ is None if there is not None else importlib.util.find_spec(root) is None
