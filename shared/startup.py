"""How every service gets its configuration: the environment with AWS KMS's ciphertexts decrypted,
the references that this service needs resolved by whoever keeps them, the file typed, and the log
as it says; and how it gets it again when a secret has changed.

A manager that can't say costs the model whose key it keeps, not the start; what nobody can start
without is refused with a sentence.
"""

import asyncio
import os.path
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import structlog

from shared import logging, settings
from shared.config import Config, ConfigError, everybody
from shared.config.deployments import SECRETS
from shared.config.load import of_tree
from shared.config.providers import PROVIDERS
from shared.config.reading import text_of, whole
from shared.config.references import collect
from shared.secrets import KeyManagement, SecretError, Secrets, environment, variables
from shared.settings import SettingsError
from shared.waiting import ended

log = structlog.get_logger()

_NOT_FOR: dict[str, frozenset[str]] = {
    "edge": frozenset({"database_url"}),
    "policy": frozenset({"database_url", "credential_list", "mcp_servers", *SECRETS}),
    "moderation": frozenset({"database_url", "master_key", "model_list", "credential_list", "mcp_servers"}),
    "ledger": frozenset({"master_key", "model_list", "credential_list", "mcp_servers"}),
    "suite": frozenset({"model_list", "credential_list", "mcp_servers"}),
}
"""Keys whose references a service doesn't resolve, at whatever depth."""
ASKED_AGAIN_S = 2.0
"""After a refused credential: the managers aren't asked more often than this, whoever was
refused.
"""

TROUBLE_S = 2.0


class SecretSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How secrets of a manager are kept up to date: `TOLLGATE_<FIELD>`."""

    secret_refresh_s: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 150
    """How often a service asks for its secrets again, in seconds. A secret that a provider refuses
    is asked for at once.
    """


@dataclass(repr=False)
class _Reading:
    """Of the file, and what it refers to: with plaintexts, so nothing shows it."""

    plain: Mapping[str, str]
    """The environment, without AWS KMS's ciphertexts."""
    tree: tuple[dict[str, Any], list[str]] = field(default_factory=lambda: ({}, []))
    """The file's, with what it includes, and what is to be said of it."""
    variables: dict[str, str] = field(default_factory=dict)
    """Variable → the reference that its value comes from."""
    references: list[str] = field(default_factory=list)
    resolved: dict[str, str | None] = field(default_factory=dict)
    """None: there is no value, or its manager can't say."""
    secrets: Secrets | None = None
    """None: no manager is asked."""


def _nothing() -> None:
    pass


class Source:
    """A service's configuration, and the way to read it again when a secret behind it has another
    value.

    Nothing of it is written to `os.environ`: no process that is started from here inherits a
    plaintext.
    """

    def __init__(self, path: str, environ: Mapping[str, str], service: str | None) -> None:
        self.path = path
        self._given = environ
        self._service = service
        self._read = _Reading(environ)
        self._asking: asyncio.Task[bool] | None = None
        self._asked_at = float("-inf")
        self._every_s = settings.read(SecretSettings, environ).secret_refresh_s
        self.on_change: Callable[[], None] = _nothing
        """Puts `config` and `environ` into force after a refresh that found something else: before
        anybody who waits for it goes on, and before the next who is refused could be told that it
        was asked a moment ago."""
        self.config: Config
        self.environ: Mapping[str, str] = environ
        """With the plaintexts."""

    @classmethod
    async def open(cls, path: str, environ: Mapping[str, str], service: str | None) -> "Source":
        """Raises ConfigError or SettingsError.

        Args:
            service: who reads; None: everything is resolved, as for a check.
        """
        source = cls(path, environ, service)
        try:
            await source._open()
        except BaseException:
            await source.close()
            raise
        return source

    async def refresh(self) -> bool:
        """Ask for every secret again: whether any has another value now, and `config` and `environ`
        are new.

        One asking at a time, for all who want it. Never raises: what can't be had, or can't be
        used, leaves everything as it was.
        """
        if self._read.secrets is None:
            return False
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh())
        return await asyncio.shield(self._asking)

    @property
    def may_ask(self) -> bool:
        """Whether `refused` would ask: not where nothing can change, and not again in a moment."""
        asking = self._asking is not None and not self._asking.done()
        return self._read.secrets is not None and (asking or time.monotonic() - self._asked_at >= ASKED_AGAIN_S)

    async def refused(self) -> bool:
        """Somebody refused a credential: `refresh`, unless that was asked a moment ago."""
        return self.may_ask and await self.refresh()

    async def watch(self, in_trouble: Callable[[], bool] = bool) -> None:
        """For ever: a refresh now and then.

        Args:
            in_trouble: something of ours is refused or away: then secrets are looked at more often.
        """
        while True:  # also where no manager is asked: the next file may name one
            begun = time.monotonic()
            while (waited_s := time.monotonic() - begun) < self._every_s:
                await asyncio.sleep(min(TROUBLE_S, self._every_s - waited_s))
                if in_trouble():
                    break
            await self.refresh()

    async def reread(self) -> "Source":
        """The file as it is now, with all that it refers to: for `become`, or to be closed. Raises
        ConfigError or SettingsError.
        """
        return await Source.open(self.path, self._given, self._service)

    async def become(self, other: "Source") -> None:
        """What `other` is, who ends by that. Whoever is asking for secrets at the moment is
        answered first.
        """
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        before, self._read = self._read.secrets, other._read
        self.config, self.environ = other.config, other.environ
        other._read = _Reading(other._given)
        if before is not None:
            await before.close()

    async def close(self) -> None:
        if self._asking is not None:
            await ended(self._asking)
        if self._read.secrets is not None:
            await self._read.secrets.close()

    async def _open(self) -> None:
        self._read.plain = await environment.load(self._given)
        self._read.tree = whole(text_of(self.path), *_where(self.path))
        top, _ = self._read.tree
        general = top.get("general_settings")
        managed = KeyManagement.of(general if isinstance(general, dict) else {})
        needed = _needed(top, _NOT_FOR.get(self._service or "", frozenset()))
        more = _provider_variables(top) if self._service in (None, "edge") else ()
        self._read.variables = variables.wanted(self._service, more, self._read.plain, managed)
        self._read.references = list(dict.fromkeys(collect(needed)))
        if managed.reads or any(map(_names_manager, [*self._read.references, *self._read.variables.values()])):
            self._read.secrets = Secrets(self._read.plain, managed)
            self._read.resolved = await self._resolve(self._read.secrets)
        self._take(self._parsed(self._read.resolved))
        logging.follow(self.config)

    async def _refresh(self) -> bool:
        assert self._read.secrets is not None
        self._asked_at = time.monotonic()
        self._read.secrets.doubt()
        found = await self._resolve(self._read.secrets)
        if found == self._read.resolved:
            return False
        try:
            parsed = self._parsed(found)
        except (ConfigError, SettingsError) as error:
            log.error("changed_secrets_not_used", reason=str(error)[:300])
            return False
        self._read.resolved = found
        self._take(parsed)
        log.info("secrets_changed")
        self.on_change()
        return True

    def _parsed(self, resolved: Mapping[str, str | None]) -> tuple[Config, Mapping[str, str]]:
        name, directory = _where(self.path)
        environ = dict(self._read.plain)
        for variable, reference in self._read.variables.items():
            value = resolved.get(reference)
            if value is not None:
                environ[variable] = value
            elif _names_manager(reference):
                environ.pop(variable, None)  # the reference itself is nobody's secret
        found = of_tree(
            self._read.tree, environ, directory=directory, name=name, service=self._service, resolved=resolved
        )
        return found, {**environ, **{name: value.reveal() for name, value in found.variables.items()}}

    def _take(self, parsed: tuple[Config, Mapping[str, str]]) -> None:
        self.config, self.environ = parsed

    async def _resolve(self, secrets: Secrets) -> dict[str, str | None]:
        """Reference → value; None where there is none, or where its manager can't say (which is
        logged).
        """
        guessed = frozenset(self._read.variables.values()).difference(self._read.references)
        wanted = list(dict.fromkeys([*self._read.references, *self._read.variables.values()]))

        async def one(reference: str) -> str | None:
            try:
                found = await secrets.resolve(reference)
            except SecretError as error:
                tell = log.info if reference in guessed and not _names_manager(reference) else log.warning
                tell("secret_not_resolved", reference=_shown(reference), reason=str(error))
                return self._read.resolved.get(reference)
            return found.reveal() if found is not None else None

        return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))


async def configuration(path: str, environ: Mapping[str, str], service: str | None) -> tuple[Config, Mapping[str, str]]:
    """(the configuration, the environment with its plaintexts), as they are now. Raises ConfigError
    or SettingsError.
    """
    source = await Source.open(path, environ, service)
    await source.close()
    return source.config, source.environ


def _names_manager(reference: str) -> bool:
    return not reference.startswith("os.environ/")


def _shown(reference: str) -> str:
    """A ciphertext says nothing, and is long."""
    return "aws_kms/..." if reference.startswith("aws_kms/") else reference[:200]


def _needed(value: Any, not_for: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _needed(item, not_for) for key, item in value.items() if key not in not_for}
    if isinstance(value, list):
        return [_needed(item, not_for) for item in value]
    return value


def _provider_variables(top: Mapping[str, Any]) -> Iterator[str]:
    """What the providers of `model_list` read where their entries say nothing."""
    general = top.get("general_settings")
    infers = isinstance(general, dict) and bool(general.get("infer_model_from_keys"))
    entries: Iterable[Any] = everybody.listed(top.get("model_list"), infers)
    for entry in entries if isinstance(entries, list) else ():
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        if isinstance(params, dict) and isinstance(params.get("model"), str):
            named = str(params.get("custom_llm_provider") or params["model"].partition("/")[0])
            for each in everybody.NAMED if everybody.is_meant(entry) else (named,):
                row = PROVIDERS.get(each) or PROVIDERS["openai"]
                yield from (*row.key_variables, *row.base_variables)


def _where(path: str) -> tuple[str, str]:
    """(the file's name, its directory)."""
    return os.path.basename(path), os.path.dirname(os.path.abspath(path))
