"""What the gateway shows of itself, by environment and configuration: titles, which pages there
are, logo and icon.

DOCS_TITLE, DOCS_DESCRIPTION    of the documentation
DOCS_FILTERED="True"            it shows the routes of OpenAI's API alone
DOCS_URL, REDOC_URL, OPENAPI_URL   further paths for them (they always have /docs, /redoc, /openapi.json)
NO_DOCS, NO_REDOC, NO_OPENAPI   "True": they aren't there
ROOT_REDIRECT_URL               where / leads to, instead of showing the documentation
SERVER_ROOT_PATH                a prefix before all paths, with or without a proxy that takes it away
UI_LOGO_PATH, LITELLM_FAVICON_URL   a file, or an address
general_settings.block_robots   /robots.txt asks crawlers to stay away
"""  # noqa: W505

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.config import ConfigError
from shared.settings import SettingsError

TITLE = "LiteLLM API"
"""LiteLLM's default: clients of its document look for it."""
_PATH = re.compile(r"/[-._~0-9A-Za-z/]*")


class Site(msgspec.Struct, frozen=True, kw_only=True):
    title: str = TITLE
    description: str = ""
    filtered: bool = False
    docs: bool = True
    redoc: bool = True
    openapi: bool = True
    aliases: dict[str, str] = {}
    """Further paths -> the route's own."""
    root_redirect: str | None = None
    root_path: str = ""
    """Without a slash at its end."""
    block_robots: bool = False
    logo: str | None = None
    favicon: str | None = None
    assets_dir: str | None = None
    """Where image files may lie."""

    @property
    def moves(self) -> bool:
        """Whether paths mean anything else than what they say."""
        return bool(self.root_path or self.aliases)

    def within(self, path: str) -> str:
        """A path as the table of routes has it: without the prefix."""
        root = self.root_path
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            path = path[len(root) :] or "/"
        return self.aliases.get(path, path)


def read(general_settings: Mapping[str, Any], environ: Mapping[str, str], directory: str) -> Site:
    """
    Args:
        directory: of the configuration: image files may lie in it, or in LITELLM_ASSETS_PATH.

    Raises ConfigError, SettingsError.
    """

    def said(name: str) -> str:
        return environ.get(name, "").strip()

    def is_true(name: str) -> bool:
        return said(name).lower() in ("true", "1", "yes")

    block = general_settings.get("block_robots", False)
    if not isinstance(block, bool):
        raise ConfigError(f"general_settings.block_robots: true or false is needed, not {block!r}")
    aliases = {}
    for name, path in (("DOCS_URL", "/docs"), ("REDOC_URL", "/redoc"), ("OPENAPI_URL", "/openapi.json")):
        if said(name) and said(name) != path:
            aliases[_path(name, said(name))] = path
    root_path = said("SERVER_ROOT_PATH").rstrip("/")
    redirect = said("ROOT_REDIRECT_URL") or None
    if redirect is not None and not (
        redirect.isascii() and redirect.isprintable() and redirect.startswith(("/", "http://", "https://"))
    ):
        raise SettingsError("ROOT_REDIRECT_URL: an address or a path that begins with a slash is needed")
    return Site(
        title=said("DOCS_TITLE") or TITLE,
        description=said("DOCS_DESCRIPTION"),
        filtered=said("DOCS_FILTERED") == "True",
        docs=not is_true("NO_DOCS"),
        redoc=not is_true("NO_REDOC"),
        openapi=not is_true("NO_OPENAPI"),
        aliases=aliases,
        root_redirect=redirect,
        root_path=_path("SERVER_ROOT_PATH", root_path) if root_path else "",
        block_robots=block,
        logo=said("UI_LOGO_PATH") or None,
        favicon=said("LITELLM_FAVICON_URL") or None,
        assets_dir=said("LITELLM_ASSETS_PATH") or directory,
    )


def _path(name: str, path: str) -> str:
    if not _PATH.fullmatch(path):
        raise SettingsError(f"{name}: a path that begins with a slash is needed")
    return path
