"""How every service gets its configuration: the environment with AWS KMS's ciphertexts decrypted, the references that this service needs
resolved by whoever keeps them, the file typed, and the log as it says.

A manager that can't say costs the model whose key it keeps, not the start; what nobody can start without is refused with a sentence.
"""

import asyncio
import os.path
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from shared import logging
from shared.config import Config, parse
from shared.config.fields import known
from shared.config.reading import text_of, tree, with_includes
from shared.config.references import collect
from shared.config.schema import EntryParams
from shared.secrets import KeyManagement, SecretError, Secrets, environment

log = structlog.get_logger()

_CREDENTIALS = frozenset(name for name, field in known(EntryParams).items() if "Secret" in str(field.type))
_NOT_FOR: dict[str, frozenset[str]] = {
    "edge": frozenset({"database_url"}),
    "policy": frozenset({"database_url", "credential_list", *_CREDENTIALS}),
    "moderation": frozenset({"database_url", "master_key", "model_list", "credential_list"}),
    "ledger": frozenset({"master_key", "model_list", "credential_list"}),
    "suite": frozenset({"model_list", "credential_list"}),
}
"""Keys whose references a service doesn't resolve, at whatever depth."""


async def configuration(path: str, environ: Mapping[str, str], service: str | None) -> tuple[Config, Mapping[str, str]]:
    """(the configuration, the environment with its plaintexts). Raises ConfigError or SettingsError.

    Args:
        service: who reads; None: everything is resolved, as for a check.
    """
    plain = await environment.load(environ)
    text, name, directory = text_of(path), *_where(path)
    top, _ = with_includes(tree(text, name)[0], Path(directory))
    general = top.get("general_settings")
    managed = KeyManagement.of(general if isinstance(general, dict) else {})
    wanted = list(dict.fromkeys(collect(_needed(top, _NOT_FOR.get(service or "", frozenset())))))
    resolved = await _resolve(wanted, plain, managed) if managed.reads or any(map(_names_manager, wanted)) else {}
    found = parse(text, plain, directory=directory, name=name, service=service, resolved=resolved)
    logging.follow(found)
    return found, plain


def _names_manager(reference: str) -> bool:
    return not reference.startswith("os.environ/")


def _needed(value: Any, not_for: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _needed(item, not_for) for key, item in value.items() if key not in not_for}
    if isinstance(value, list):
        return [_needed(item, not_for) for item in value]
    return value


async def _resolve(wanted: Iterable[str], environ: Mapping[str, str], managed: KeyManagement) -> dict[str, str | None]:
    """Reference → value; None where there is none, or where its manager can't say (which is logged)."""
    secrets = Secrets(environ, managed)

    async def one(reference: str) -> str | None:
        try:
            found = await secrets.resolve(reference)
        except SecretError as error:
            log.warning("secret_not_resolved", reference=reference[:200], reason=str(error))
            return None
        return found.reveal() if found is not None else None

    try:
        names = list(wanted)
        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
    finally:
        await secrets.close()


def _where(path: str) -> tuple[str, str]:
    """(the file's name, its directory)."""
    return os.path.basename(path), os.path.dirname(os.path.abspath(path))
