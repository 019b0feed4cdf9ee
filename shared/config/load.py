"""A whole file: its sections typed, its models made or left out, and a word about every key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from shared.config import (
    budgets,
    callbacks,
    deployments,
    everybody,
    file_variables,
    mcp,
    meant,
    named_callbacks,
    opening,
    own_auth,
    stored,
    usable,
    without_effect,
)
from shared.config.callbacks import CallbackSettings
from shared.config.deployments import Deployment, LeftOut
from shared.config.errors import ConfigError
from shared.config.fields import Key, Reading, known, section, unenforced
from shared.config.mcp import McpServer
from shared.config.reading import text_of, whole
from shared.config.references import Lookup, Unset, by_place, resolve
from shared.config.schema import GeneralSettings, LitellmSettings, RouterSettings
from shared.config.stored import StoredSettings
from shared.ids import DeploymentId
from shared.secrets.value import Secret

_SECTIONS = {
    "model_list", "general_settings", "litellm_settings", "router_settings", "environment_variables", "credential_list", "guardrails",
    "callback_settings", "mcp_servers",
}  # fmt: skip
_SECRETS_OF = {"master_key": ("policy", "suite"), "database_url": ("ledger", "suite")}
"""Which services need which secret of general_settings."""


class _Nothing(msgspec.Struct, frozen=True, kw_only=True):
    """A section that nobody knows."""


class Config(msgspec.Struct, frozen=True):
    """What Tollgate reads of a `config.yaml`."""

    deployments: list[Deployment]
    master_key: Secret | None
    """`general_settings.master_key`, else LITELLM_MASTER_KEY. None: no service may serve with it,
    unless `allow_open_gateway`.
    """
    allow_open_gateway: bool
    """Said out loud: without a master key every caller is an anonymous internal_user, and a weak
    master key is taken.
    """
    database_url: Secret | None
    general: GeneralSettings
    litellm: LitellmSettings
    router: RouterSettings
    guardrails: list[dict[str, Any]]
    """LiteLLM's newer form: `guardrail_name`, `litellm_params`. shared/guardrails.py says which are
    known.
    """
    blocked_users: frozenset[str]
    """Customers in `litellm_settings.blocked_user_list`, where the callback `blocked_user_check` is
    on.
    """
    litellm_settings: dict[str, Any]
    """The section as written, references resolved; missing ones are None. Prefer `litellm`."""
    general_settings: dict[str, Any]
    """The same of this section, without its secrets. Prefer `general`."""
    router_settings: dict[str, Any]
    """The same of this one. Prefer `router`."""
    left_out: list[LeftOut]
    keys: list[Key]
    """Every key of the file, and what comes of it."""
    warnings: list[str]
    directory: str
    """Where the file lies: relative paths in it start here."""
    credentials: dict[str, dict[str, Any]] = {}
    """`credential_list` by name, references resolved."""
    callback_settings: dict[str, CallbackSettings] = {}
    """By the callback's name."""
    mcp_servers: dict[str, McpServer] = {}
    """Those that are relayed, by name."""
    unkeyed: dict[DeploymentId, str] = {}
    """Deployments of an entry for everybody that can't be called from here: why not."""
    variables: dict[str, Secret] = {}
    """`environment_variables`, which go before the environment, and what sections say of sinks'."""
    stored_models: StoredSettings = StoredSettings()
    """What models added by API may do."""
    references: dict[str, tuple[str, ...]] = {}
    """`section.key` → what its value refers to: `os.environ/NAME`, `vault/NAME`."""

    @property
    def model_names(self) -> list[str]:
        return list(dict.fromkeys(d.model_name for d in self.deployments))

    def unenforced(self, name: str, sentence: str) -> str:
        """Something that protects can't be done: the warning to show, or ConfigError unless
        `allow_unenforced` names it.
        """
        return unenforced(name, sentence, self.general.allow_unenforced)

    def why_left_out(self, model: str) -> str | None:
        """Of a name that the file has and nobody serves."""
        return next((each.reason for each in self.left_out if each.model_name == model), None)


def load(path: str, environ: Mapping[str, str], service: str | None = None) -> Config:
    """Read and check the file. Raises ConfigError.

    Args:
        service: who reads: secrets that it doesn't need may be missing. None: everything is needed.
    """
    file = Path(path)
    return parse(text_of(path), environ, directory=str(file.resolve().parent), name=file.name, service=service)


def parse(
    text: str,
    environ: Mapping[str, str],
    *,
    directory: str = ".",
    name: str = "config.yaml",
    service: str | None = None,
    resolved: Mapping[str, str | None] | None = None,
) -> Config:
    """The same from text."""
    return of_tree(
        whole(text, name, directory), environ, directory=directory, name=name, service=service, resolved=resolved
    )


def of_tree(
    found: tuple[dict[str, Any], list[str]],
    environ: Mapping[str, str],
    *,
    directory: str,
    name: str,
    service: str | None,
    resolved: Mapping[str, str | None] | None,
) -> Config:
    """The same from what `reading.whole` found, which stays as it is.

    Args:
        resolved: what secret managers said (shared/startup.py).
    """
    top, warnings = found
    try:
        return _read(top, environ, directory, warnings, service, resolved)
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML (something refers to itself)") from None


def _read(
    top: dict[str, Any],
    environ: Mapping[str, str],
    directory: str,
    warnings: list[str],
    service: str | None,
    resolved: Mapping[str, str | None] | None,
) -> Config:
    given = _section(top, "general_settings")
    reading = Reading(_allowed(given))
    reading.warnings += warnings
    variables = file_variables.read(_section(top, "environment_variables"), Lookup(environ, resolved), reading)
    environ = {**environ, **variables}
    lookup = Lookup(environ, resolved)
    general_tree = resolve(given, lookup)
    litellm_tree, router_tree = (
        resolve(_section(top, each), lookup) for each in ("litellm_settings", "router_settings")
    )
    loose = resolve({str(key): value for key, value in top.items() if key not in _SECTIONS}, lookup)
    trees = {
        "general_settings": general_tree, "litellm_settings": litellm_tree, "router_settings": router_tree, "": loose,
    }  # fmt: skip
    for name, tree_ in trees.items():
        meant.shapes(name, tree_, reading)
    named = opening.from_environ(environ)
    of_sections = file_variables.of_sections(trees, environ, reading)
    variables, environ = {**variables, **of_sections}, {**environ, **of_sections}
    lookup = Lookup(environ, resolved)
    trees |= (own_sections := meant.unfold(loose))
    meant.take_over(trees, reading, {"master_key": named.reveal()} if named else None)
    meant.groups(router_tree, litellm_tree, reading)
    meant.traced(general_tree, litellm_tree, reading)
    reading.elsewhere, reading.anyway = _places(), _anyway()
    reading.off_asks, reading.off_anyway = without_effect.OFF_ASKS, _off_anyway()
    _name_other_sections(loose, own_sections, reading)
    _need_secrets(general_tree, service, environ)
    usable.only(trees, environ, reading, service)
    general = section(
        GeneralSettings, general_tree, "general_settings", _idle(without_effect.GENERAL, general_tree), reading
    )
    litellm = section(
        LitellmSettings, litellm_tree, "litellm_settings", _idle(without_effect.LITELLM, litellm_tree), reading
    )
    router = section(RouterSettings, router_tree, "router_settings", _idle(without_effect.ROUTER, router_tree), reading)
    budgets.check(litellm, router, reading)
    own_auth.check(general, directory, reading)
    _name_tokens_without_keys(general, environ, reading)
    of_callbacks = callbacks.read_settings(resolve(_section(top, "callback_settings"), lookup), reading)
    named_callbacks.judge(litellm, of_callbacks, directory, reading)
    credentials = _credentials(top, lookup)
    calls_others = service in (None, "edge")
    servers = mcp.read(resolve(top.get("mcp_servers"), lookup), reading, secrets=calls_others)
    listed = everybody.listed(top.get("model_list"), general.infer_model_from_keys)
    entries = _with_defaults(listed, router.default_litellm_params)
    found, left_out = deployments.read(entries, lookup, credentials, reading, secrets=calls_others)
    unkeyed = {each.id: each.reason for each in left_out if each.is_one_of_all}
    left_out = [each for each in left_out if not each.is_one_of_all]
    if left_out and not router.ignore_invalid_deployments:
        first = left_out[0]
        raise ConfigError(f"{first.place}.{first.reason} (router_settings.ignore_invalid_deployments is false)")
    for each in left_out:
        reading.warn(f"{each.place} ({each.model_name or 'without a name'}) is left out: {each.reason}")
    return Config(
        deployments=found,
        master_key=general.master_key or opening.from_environ(environ),
        allow_open_gateway=opening.allowed(general_tree, environ),
        database_url=general.database_url or None,
        general=general,
        litellm=litellm,
        router=router,
        guardrails=_guardrails(top, lookup),
        blocked_users=_blocked_users(litellm, directory),
        litellm_settings=_without_unset(litellm_tree),
        general_settings=_without_unset({k: v for k, v in general_tree.items() if k not in _SECRETS_OF}),
        router_settings=_without_unset(router_tree),
        left_out=left_out,
        unkeyed=unkeyed,
        keys=reading.keys,
        warnings=reading.warnings,
        directory=directory,
        credentials=credentials,
        callback_settings=of_callbacks,
        mcp_servers=servers,
        variables=file_variables.kept(variables),
        stored_models=stored.settings(general, environ),
        references=by_place(top),
    )


def _places() -> dict[str, str]:
    """A key's name → the section it belongs in, for who wrote it somewhere else."""
    tables: tuple[tuple[str, type[msgspec.Struct], dict[str, str]], ...] = (
        ("router_settings", RouterSettings, without_effect.ROUTER),
        ("general_settings", GeneralSettings, without_effect.GENERAL),
        ("litellm_settings", LitellmSettings, without_effect.LITELLM),
    )
    return {name: at for at, kind, idle in tables for name in (*idle, *known(kind))}


def _off_anyway() -> frozenset[str]:
    """Keys that are off where nobody says anything."""
    found = {name for name, why in _all_idle() if not why.startswith(("=", "~"))} - without_effect.OFF_ASKS
    for kind in (RouterSettings, GeneralSettings, LitellmSettings):
        found |= {field.encode_name for field in msgspec.structs.fields(kind) if field.default is False}
    return without_effect.OFF_IS_SO | found


def _idle(table: dict[str, str], tree: Mapping[str, Any]) -> dict[str, str]:
    """The table of a section, and what of `without_effect.INVENTED` is switched on in it."""
    return {**{name: why for name, why in without_effect.INVENTED.items() if tree.get(name) is True}, **table}


def _anyway() -> dict[str, str]:
    return {name: why for name, why in _all_idle() if why.startswith("=")}


def _all_idle() -> list[tuple[str, str]]:
    tables = (without_effect.GENERAL, without_effect.LITELLM, without_effect.ROUTER)
    return [each for table in tables for each in table.items()]


def _name_tokens_without_keys(general: GeneralSettings, environ: Mapping[str, str], reading: Reading) -> None:
    """Nothing is opened by it, so the start isn't refused: no token is good then."""
    if general.enable_jwt_auth and not environ.get("JWT_PUBLIC_KEY_URL") and not general.litellm_jwtauth.get("issuers"):
        why = "JWT_PUBLIC_KEY_URL isn't set: every token is refused"
        reading.correct("general_settings.enable_jwt_auth", "no effect", why)
        reading.warn(f"general_settings.enable_jwt_auth: {why}")


def _with_defaults(entries: Any, defaults: dict[str, Any]) -> Any:
    """`router_settings.default_litellm_params` stand where an entry says nothing."""
    if not defaults or not isinstance(entries, list):
        return entries
    return [
        {**entry, "litellm_params": {**defaults, **entry["litellm_params"]}}
        if isinstance(entry, dict) and isinstance(entry.get("litellm_params"), dict)
        else entry
        for entry in entries
    ]


def _section(top: dict[str, Any], name: str) -> dict[str, Any]:
    value = top.get(name)
    if value is None or value == [] or value == "":
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a mapping")
    return value


def _allowed(general: dict[str, Any]) -> list[str]:
    names = general.get("allow_unenforced") or []
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ConfigError("general_settings.allow_unenforced must be a list of names")
    return names


def _name_other_sections(loose: dict[str, Any], own: Mapping[str, dict[str, Any]], reading: Reading) -> None:
    """
    Args:
        own: sections of the operator's own, with what nobody else took of them.
    """
    for name, tree in own.items():
        section(_Nothing, tree, name, _idle({}, tree), reading)
    idle = _idle(without_effect.SECTIONS, loose)
    for name in loose:
        if name.startswith(("x-", ".")):  # x-: where YAML's anchors are kept
            continue
        why = idle.get(name)
        if why is not None and loose[name] in (None, [], {}, ""):
            reading.say(name, "acts", "it is empty")
            continue
        reading.say(name, "no effect" if why else "unknown", why or "")
        reading.warn(f"{name}: not used ({why})" if why else f"{name}: unknown section, ignored")


def _need_secrets(general: dict[str, Any], service: str | None, environ: Mapping[str, str]) -> None:
    """A missing secret is refused by whoever needs it: going on without would open a door, or fail
    far away. Others go on without it.
    """
    for name, services in _SECRETS_OF.items():
        value = general.get(name)
        if isinstance(value, Unset):
            elsewhere = name == "database_url" and environ.get("TOLLGATE_DATABASE_URL")
            if not elsewhere and (service is None or service in services):
                raise ConfigError(f"general_settings.{name}: {value}")
            general[name] = None
        elif value == "":
            general[name] = None


def _credentials(top: dict[str, Any], lookup: Lookup) -> dict[str, dict[str, Any]]:
    """`credential_list` by name."""
    entries = top.get("credential_list") or []
    if not isinstance(entries, list):
        raise ConfigError("credential_list must be a list")
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("credential_values"), dict):
            raise ConfigError(f"credential_list[{number}] must have credential_name and credential_values")
        found[str(entry.get("credential_name"))] = resolve(entry["credential_values"], lookup)
    return found


def _guardrails(top: dict[str, Any], lookup: Lookup) -> list[dict[str, Any]]:
    entries = top.get("guardrails") or []
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ConfigError("guardrails must be a list of mappings")
    return [_without_unset(resolve(entry, lookup)) for entry in entries]


def _blocked_users(litellm: LitellmSettings, directory: str) -> frozenset[str]:
    """The list itself, or the lines of a file."""
    names, given = litellm.callbacks, litellm.blocked_user_list
    if "blocked_user_check" not in ([names] if isinstance(names, str) else names):
        return frozenset()
    if isinstance(given, str):
        given = text_of(str(Path(directory) / given)).splitlines()
    return frozenset(filter(None, (name.strip() for name in given)))


def _without_unset(value: Any) -> Any:
    if isinstance(value, Unset):
        return None
    if isinstance(value, dict):
        return {key: _without_unset(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_unset(item) for item in value]
    return value
