"""LiteLLM's `config.yaml`, read as it is.

Unknown keys are named in one warning; wrong values are refused with a sentence that says where (`ConfigError`).
`os.environ/NAME` stands for an environment variable anywhere in the file. Values that are secrets come out as `Secret`,
whose repr never shows them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from shared.config import opening
from shared.config.errors import ConfigError
from shared.config.providers import OPENAI_WIRE, PROVIDERS, of_model_name
from shared.ids import DeploymentId
from shared.money import Price, picousd_from_usd
from shared.secrets.value import Secret

__all__ = ["Config", "ConfigError", "Deployment", "Secret", "load", "parse"]

REFERENCE = "os.environ/"
CONFIG_BYTES_MAX = 16 * 1024 * 1024
DEPTH_MAX = 100


class Deployment(msgspec.Struct, frozen=True):
    """One entry of `model_list`: somewhere a call for `model_name` may go."""

    id: DeploymentId
    model_name: str
    provider: str
    upstream_model: str
    api_base: str
    api_key: Secret | None
    weight: float = 1.0
    order: int = 0
    timeout_ms: int = 600_000
    price: Price | None = None
    """Set by `input_cost_per_token` and friends; None: look it up in the table."""
    base_model: str | None = None
    """`model_info.base_model`: the name to price by."""
    mock_response: str | None = None
    """Answer with this text, without any upstream (LiteLLM's key)."""
    extra_headers: dict[str, str] = {}
    organization: str | None = None
    stream_timeout_ms: int | None = None
    """Of a stream: the longest silence, before its head and in it; None: as `timeout_ms`."""
    cooldown_s: float | None = None
    """How long it rests after it failed; None: as router_settings say."""
    retries: int | None = None
    """`num_retries` or `max_retries`: attempts beyond the first; None: as the settings say."""
    rpm: int | None = None
    tpm: int | None = None
    """Requests and tokens a minute: weights of routing, and limits of usage-based routing."""
    input_tokens_max: int | None = None
    """`model_info.max_input_tokens`: the context window, for `enable_pre_call_checks`."""
    api_version: str | None = None
    """Azure's."""
    azure_ad_token: Secret | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    """Of Microsoft Entra, where there is no key."""
    azure_authority: str | None = None
    """Entra's address, for clouds of their own."""


class Config(msgspec.Struct, frozen=True):
    """What Tollgate acts on of a `config.yaml`; the sections stay reachable for what a service alone reads."""

    deployments: list[Deployment]
    master_key: Secret | None
    """`general_settings.master_key`, else LITELLM_MASTER_KEY. None: no service may serve with it, unless `allow_open_gateway`."""
    allow_open_gateway: bool
    """Said out loud: without a master key every caller is an anonymous internal_user, and a weak master key is taken."""
    database_url: Secret | None
    litellm_settings: dict[str, Any]
    general_settings: dict[str, Any]
    router_settings: dict[str, Any]
    warnings: list[str]
    directory: str
    """Where the file lies: relative paths in it start here."""

    @property
    def model_names(self) -> list[str]:
        return list(dict.fromkeys(d.model_name for d in self.deployments))


_SECTIONS = {"model_list", "litellm_settings", "general_settings", "router_settings", "environment_variables"}
_PARAMS = {
    "model", "api_key", "api_base", "base_url", "weight", "order", "timeout", "mock_response", "extra_headers",
    "organization", "rpm", "tpm", "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost",
    "cache_creation_input_token_cost", "input_cost_per_request", "stream_timeout", "max_retries", "num_retries", "tags", "drop_params",
    "cooldown_time", "api_version", "azure_ad_token", "tenant_id", "client_id", "client_secret", "azure_authority_host",
}  # fmt: skip
_LITELLM_SETTINGS = {
    "callbacks", "banned_keywords_list", "drop_params", "set_verbose", "num_retries", "request_timeout",
    "store_audit_logs", "disable_add_user_agent_to_request_tags", "telemetry",
}  # fmt: skip
_GENERAL_SETTINGS = {
    "master_key", "database_url", "reject_clientside_metadata_tags", "store_model_in_db", "allow_open_gateway",
    "dangerously_permit_weak_or_unset_master_key", "max_request_size_mb", "max_response_size_mb", "max_file_size_mb",
    "allowed_file_extensions", "blocked_file_extensions", "alerting",
}  # fmt: skip


def load(path: str, environ: Mapping[str, str]) -> Config:
    """Read and check the file. Raises ConfigError."""
    file = Path(path)
    try:
        if file.stat().st_size > CONFIG_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {CONFIG_BYTES_MAX} bytes")
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    return parse(text, environ, directory=str(file.resolve().parent), name=file.name)


def parse(text: str, environ: Mapping[str, str], *, directory: str = ".", name: str = "config.yaml") -> Config:
    """The same from text."""
    try:
        return _read(_tree(text, name), environ, directory, name)
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML (something refers to itself)") from None


def _tree(text: str, name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep_nesting(yaml.parse(text, Loader=loader))
        tree = yaml.load(text, Loader=loader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(
            f"{name}{where}: not valid YAML ({getattr(error, 'problem', None) or 'unreadable'})"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError):  # what the reader of dates and numbers lets through
        raise ConfigError(f"{name}: not valid YAML (a date or number that is none)") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: the top level must be a mapping")
    return tree


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


def _read(tree: dict[str, Any], environ: Mapping[str, str], directory: str, name: str) -> Config:
    warnings = [f"{key}: unknown section, ignored" for key in tree if key not in _SECTIONS]
    environ = {**environ, **{k: str(v) for k, v in _section(tree, "environment_variables").items()}}
    general, litellm, router = (
        _section(tree, section) for section in ("general_settings", "litellm_settings", "router_settings")
    )
    warnings += [f"general_settings.{key}: not used" for key in general if key not in _GENERAL_SETTINGS]
    warnings += [f"litellm_settings.{key}: not used" for key in litellm if key not in _LITELLM_SETTINGS]
    warnings += [f"router_settings.{key}: not used" for key in router]
    entries = tree.get("model_list") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{name}: model_list must be a list")
    deployments = [_deployment(entry, f"model_list[{i}]", environ, warnings) for i, entry in enumerate(entries)]
    _refuse_repeated_ids(deployments)
    return Config(
        deployments=deployments,
        master_key=_secret(general.get("master_key"), "general_settings.master_key", environ)
        or _secret(environ.get("LITELLM_MASTER_KEY"), "LITELLM_MASTER_KEY", environ),
        allow_open_gateway=opening.allowed(general, environ),
        database_url=_secret(general.get("database_url"), "general_settings.database_url", environ),
        litellm_settings=_resolve(litellm, environ),
        general_settings={
            k: _resolve(v, environ) for k, v in general.items() if k not in ("master_key", "database_url")
        },
        router_settings=_resolve(router, environ),
        warnings=warnings,
        directory=directory,
    )


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    section = tree.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name} must be a mapping")
    return section


def _deployment(entry: Any, where: str, environ: Mapping[str, str], warnings: list[str]) -> Deployment:
    if not isinstance(entry, dict) or not isinstance(entry.get("model_name"), str) or not entry["model_name"]:
        raise ConfigError(f"{where}.model_name must be a text")
    params = entry.get("litellm_params")
    if not isinstance(params, dict) or not isinstance(params.get("model"), str):
        raise ConfigError(f"{where}.litellm_params.model must be a text, like openai/gpt-4o")
    info = entry.get("model_info") or {}
    if not isinstance(info, dict):
        raise ConfigError(f"{where}.model_info must be a mapping")
    warnings += [f"{where}.litellm_params.{key}: not used" for key in params if key not in _PARAMS]
    at = f"{where}.litellm_params"
    digest = _digest([entry["model_name"], params], at)
    model = _text(params, "model", at, environ) or ""
    api_base = _text(params, "api_base", at, environ) or _text(params, "base_url", at, environ)
    api_key = _secret(params.get("api_key"), f"{at}.api_key", environ)
    mock = _text(params, "mock_response", at, environ)
    named_by_entry = bool(api_base) or mock is not None
    provider, rest = _provider(model, at, named_by_entry=named_by_entry, has_key=api_key is not None)
    if not named_by_entry:
        row = PROVIDERS[provider]
        if row.wire != OPENAI_WIRE or not row.api_base:
            raise ConfigError(f"{at}: provider {provider!r} needs an api_base that speaks OpenAI's format")
        api_base = row.api_base
    headers = _resolve(params.get("extra_headers") or {}, environ)
    if not isinstance(headers, dict):
        raise ConfigError(f"{at}.extra_headers must be a mapping")
    return Deployment(
        id=DeploymentId(str(info.get("id") or digest)),
        model_name=entry["model_name"],
        provider=provider,
        upstream_model=rest,
        api_base=(api_base or "").rstrip("/"),
        api_key=api_key,
        weight=_number(params, "weight", at, environ, 1.0),
        order=int(_number(params, "order", at, environ, 0)),
        timeout_ms=max(1, int(_number(params, "timeout", at, environ, 600) * 1000)),
        price=_price({**info, **params}, at, environ),
        base_model=_text(info, "base_model", f"{where}.model_info", environ),
        mock_response=mock,
        extra_headers={str(k): str(v) for k, v in headers.items()},
        organization=_text(params, "organization", at, environ),
        stream_timeout_ms=_milliseconds(params, "stream_timeout", at, environ),
        cooldown_s=_optional(params, "cooldown_time", at, environ),
        retries=_whole(params, "max_retries" if params.get("num_retries") is None else "num_retries", at, environ),
        rpm=_whole(params, "rpm", at, environ),
        tpm=_whole(params, "tpm", at, environ),
        input_tokens_max=_whole(info, "max_input_tokens", f"{where}.model_info", environ),
        api_version=_text(params, "api_version", at, environ),
        azure_ad_token=_secret(params.get("azure_ad_token"), f"{at}.azure_ad_token", environ),
        tenant_id=_text(params, "tenant_id", at, environ),
        client_id=_text(params, "client_id", at, environ),
        client_secret=_secret(params.get("client_secret"), f"{at}.client_secret", environ),
        azure_authority=_text(params, "azure_authority_host", at, environ),
    )


def _provider(model: str, at: str, *, named_by_entry: bool, has_key: bool) -> tuple[str, str]:
    """(provider, its name for the model). A name that says no provider goes where the entry says, or to its maker; never elsewhere: the
    entry's key would go there too."""
    if not model:
        raise ConfigError(f"{at}.model must be a text, like openai/gpt-4o")
    prefix, slash, rest = model.partition("/")
    if slash and prefix in PROVIDERS:
        if not rest:
            raise ConfigError(f"{at}.model must be a text, like openai/gpt-4o")
        return prefix, rest
    maker = of_model_name(model, has_key=has_key)
    if maker is not None:
        return maker, model
    if named_by_entry:
        return "openai", model
    raise ConfigError(
        f"{at}.model {model!r} doesn't say whose it is: write provider/model (like openai/gpt-4o), or give an api_base"
    )


def _digest(entry: Any, at: str) -> str:
    """The same for the same entry, wherever in the file it stands."""
    try:
        return hashlib.sha256(msgspec.json.encode(entry, order="deterministic")).hexdigest()
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ConfigError(f"{at} holds something that is no text, number, list or mapping") from None


def _price(params: dict[str, Any], at: str, environ: Mapping[str, str]) -> Price | None:
    """`input_cost_per_token` and friends, of litellm_params or model_info; None when neither side is given."""

    def picousd(key: str) -> int | None:
        value = _resolve(params.get(key), environ)
        if value is None:
            return None
        try:
            return picousd_from_usd(value)
        except ValueError as error:
            raise ConfigError(f"{at}.{key}: {error}") from None

    per_input, per_output = picousd("input_cost_per_token"), picousd("output_cost_per_token")
    per_request = picousd("input_cost_per_request")
    if per_input is None and per_output is None and per_request is None:
        return None
    return Price(
        input_picousd=per_input or 0,
        output_picousd=per_output or 0,
        cache_read_picousd=picousd("cache_read_input_token_cost"),
        cache_write_picousd=picousd("cache_creation_input_token_cost"),
        request_picousd=per_request or 0,
        source="config",
    )


def _refuse_repeated_ids(deployments: list[Deployment]) -> None:
    """Two identical entries are one deployment (LiteLLM allows the repetition); two different ones with one id are a mistake."""
    seen: dict[DeploymentId, Deployment] = {}
    for deployment in deployments:
        other = seen.setdefault(deployment.id, deployment)
        if (other.model_name, other.upstream_model, other.api_base) != (
            deployment.model_name, deployment.upstream_model, deployment.api_base,
        ):  # fmt: skip
            raise ConfigError(f"model_info.id {deployment.id!r} is used by two different entries of model_list")


def _resolve(value: Any, environ: Mapping[str, str]) -> Any:
    """Replace `os.environ/NAME` in a value of any depth; an unset variable becomes None."""
    if isinstance(value, str):
        return environ.get(value[len(REFERENCE) :]) if value.startswith(REFERENCE) else value
    if isinstance(value, dict):
        return {key: _resolve(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, environ) for item in value]
    return value


def _text(params: dict[str, Any], key: str, at: str, environ: Mapping[str, str]) -> str | None:
    """A reference to an unset or empty variable is refused: an address that silently becomes the default would send the key elsewhere."""
    value = params.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{at}.{key} must be a text")
    resolved: str | None = _resolve(value, environ)
    if not resolved and value.startswith(REFERENCE):
        raise _unset(value, f"{at}.{key}")
    return resolved


def _number(params: dict[str, Any], key: str, at: str, environ: Mapping[str, str], default: float) -> float:
    value = _resolve(params.get(key), environ)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e12:
        raise ConfigError(f"{at}.{key} must be a number of zero or more")
    return number


def _optional(params: dict[str, Any], key: str, at: str, environ: Mapping[str, str]) -> float | None:
    return None if params.get(key) is None else _number(params, key, at, environ, 0.0)


def _whole(params: dict[str, Any], key: str, at: str, environ: Mapping[str, str]) -> int | None:
    number = _optional(params, key, at, environ)
    return None if number is None else int(number)


def _milliseconds(params: dict[str, Any], key: str, at: str, environ: Mapping[str, str]) -> int | None:
    seconds = _optional(params, key, at, environ)
    return None if seconds is None else max(1, int(seconds * 1000))


def _secret(value: Any, where: str, environ: Mapping[str, str]) -> Secret | None:
    """A reference to an unset or empty variable is refused: going on without the secret would open a door or fail far away."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{where} must be a text")
    resolved = _resolve(value, environ)
    if not resolved and value.startswith(REFERENCE):
        raise _unset(value, where)
    return Secret(resolved) if resolved else None


def _unset(reference: str, where: str) -> ConfigError:
    return ConfigError(f"{where}: the environment variable {reference[len(REFERENCE) :]} is not set, or empty")
