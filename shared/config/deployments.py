"""`model_list`: each entry becomes a Deployment, or is left out with the reason. One that can't be
served never refuses the file.

An entry's credential goes to the address that the entry names, or to its provider's; never to
anybody else's.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from shared.billing import Price
from shared.config import budgets, everybody, headers, meant, pointing, prices, upstream, without_effect
from shared.config.errors import ConfigError, LeaveOutError, NoCredentialError
from shared.config.fields import By, Reading, known, section
from shared.config.providers import PROVIDERS
from shared.config.references import Lookup, Unset, first_unset, resolve
from shared.config.schema.entry import EntryInfo, EntryParams
from shared.ids import DeploymentId
from shared.secrets.value import Secret

TIMEOUT_MS = 600_000
"""LiteLLM's default: ten minutes."""

PARAMETERS = By("edge")
"""Who sends an entry's own request parameters (`EntryParams` says which they are)."""


class Deployment(msgspec.Struct, frozen=True):
    """One entry of `model_list`: somewhere a call for `model_name` may go."""

    id: DeploymentId
    model_name: str
    provider: str
    upstream_model: str
    api_base: str
    """Without a slash at its end. Where the edge doesn't speak the provider's own format: its
    address for OpenAI's.
    """
    api_key: Secret | None
    weight: float = 1.0
    order: int = 0
    timeout_ms: int = TIMEOUT_MS
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
    """`model_info.max_input_tokens`, its context window. None: as the table of models says."""
    api_version: str | None = None
    """Azure's."""
    azure_ad_token: Secret | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    """Of Microsoft Entra, where there is no key."""
    azure_authority: str | None = None
    """Entra's address, for clouds of their own."""
    params: EntryParams = EntryParams(model="")
    """The whole of `litellm_params`, typed."""
    parameters: dict[str, Any] = {}
    """Parameters of the request that the entry sets (`temperature`, `max_tokens`, the provider's
    own).
    """
    info: dict[str, Any] = {}
    """The whole of `model_info`, as written: to be shown."""
    team_id: str | None = None
    """Whose alone it is; None: everybody's."""
    team_name: str | None = None
    """Another name by which that team calls it."""

    @property
    def names(self) -> tuple[str, ...]:
        """By which it is called. A pattern has no other."""
        own = self.team_name if self.team_id and "*" not in self.model_name else None
        return (self.model_name,) if own is None else (self.model_name, own)


class LeftOut(msgspec.Struct, frozen=True):
    """An entry that can't be served."""

    place: str
    """`model_list[3]`."""
    model_name: str
    reason: str
    id: DeploymentId = DeploymentId("")
    """As the Deployment would have it; empty where the entry is too broken for one."""
    credential: str = ""
    """The credential that it waits for: served as soon as somebody adds that by API."""
    entry: dict[str, Any] = {}
    """The entry itself, as written, where it waits."""
    is_one_of_all: bool = False
    """One of those that an entry for everybody stands for: nobody has to be told."""


def read(
    entries: Any, lookup: Lookup, credentials: Mapping[str, dict[str, Any]], reading: Reading, *, secrets: bool
) -> tuple[list[Deployment], list[LeftOut]]:
    """
    Args:
        credentials: `credential_list` by name.
        secrets: whether this service calls providers: then an entry without its credential is left
            out. For any other service the credentials are none of its business, and their variables
            needn't be set.
    Raises ConfigError where `model_list` is no list.
    """
    if entries is None or entries == "" or entries == {}:
        return [], []
    if not isinstance(entries, list):
        raise ConfigError("model_list must be a list")
    deployments: list[Deployment] = []
    left_out: list[LeftOut] = []
    for number, entry in enumerate(entries):
        place = f"model_list[{number}]"
        if everybody.is_meant(entry):
            _everybody(entry, place, lookup, reading, deployments, left_out, secrets=secrets)
            continue
        pointed = pointing.targets(entry, entries)
        about = Reading() if pointed else reading
        for each in map(partial(meant.entry, place=place, reading=about), pointed or [entry]):
            try:
                deployment = one(each, place, lookup, credentials, about, secrets=secrets)
                _refuse_repeated_id(deployment, deployments)
            except (LeaveOutError, ConfigError) as reason:
                text = _said(reason, place)
                waits_for = reason.name if isinstance(reason, NoCredentialError) else ""
                waiting = each if waits_for else {}
                left_out.append(LeftOut(place, _name(each, lookup), text, _id(each), waits_for, waiting))
            else:
                deployments.append(deployment)
        if pointed:
            pointing.say(about, place, entry, reading)
    return deployments, left_out


def _everybody(
    entry: dict[str, Any],
    place: str,
    lookup: Lookup,
    reading: Reading,
    deployments: list[Deployment],
    left_out: list[LeftOut],
    *,
    secrets: bool,
) -> None:
    """What stands for an entry for everybody; those whose key isn't there are left out without a
    word, unless all are.
    """
    about, before, why = reading, len(deployments), everybody.NO_KEY
    for each in everybody.entries(entry):
        try:
            deployments.append(one(each, place, lookup, {}, about, secrets=secrets))
        except (LeaveOutError, ConfigError) as reason:
            said = _said(reason, place)
            left_out.append(LeftOut(place, each["model_name"], said, _id(each), is_one_of_all=True))
            if isinstance(reason, ConfigError):  # the entry itself is wrong
                why = said
        about = Reading()  # the others say the same of every key
    if len(deployments) == before:
        left_out.append(LeftOut(place, "*", why, _id(entry)))


def _said(reason: Exception, place: str) -> str:
    """Without the place, which is named beside it."""
    return str(reason).removeprefix(f"{place}.").removeprefix(f"{place}: ")


def _id(entry: Any) -> DeploymentId:
    """Also of an entry that can't be served: other services may know it."""
    if not isinstance(entry, dict):
        return DeploymentId("")
    info = entry.get("model_info")
    given = info.get("id") if isinstance(info, dict) else None
    try:
        return DeploymentId(str(given or _digest([entry.get("model_name"), entry.get("litellm_params")], "")))
    except ConfigError:
        return DeploymentId("")


def _name(entry: Any, lookup: Lookup) -> str:
    name = resolve(entry.get("model_name"), lookup) if isinstance(entry, dict) else None
    return name if isinstance(name, str) else ""


def one(
    entry: Any,
    place: str,
    lookup: Lookup,
    credentials: Mapping[str, dict[str, Any]],
    reading: Reading,
    *,
    secrets: bool,
) -> Deployment:
    """One entry. Raises LeaveOutError or ConfigError."""
    if not isinstance(entry, dict):
        raise LeaveOutError("an entry must be a mapping with model_name and litellm_params")
    raw = entry.get("litellm_params")
    if not isinstance(raw, dict):
        raise LeaveOutError("litellm_params must be a mapping with model, like openai/gpt-4o")
    _other_keys(entry, place, reading)
    digest = _digest([entry.get("model_name"), raw], f"{place}.litellm_params")
    name = _string(resolve(entry.get("model_name"), lookup), "model_name")
    if name.count("*") > 1:
        raise LeaveOutError(f"model_name {name!r} has more than one star")
    params, extra = _params(resolve(raw, lookup), f"{place}.litellm_params", credentials, reading, secrets=secrets)
    budgets.name_idle(f"{place}.litellm_params", params.max_budget, params.budget_duration, reading)
    info_tree = resolve(entry.get("model_info") or {}, lookup)
    if not isinstance(info_tree, dict):
        raise LeaveOutError("model_info must be a mapping")
    if isinstance(info_tree.get("team_id"), Unset):
        raise LeaveOutError(f"model_info.team_id: {info_tree['team_id']}")
    info = _info(info_tree, f"{place}.model_info", reading)
    provider, upstream_model = upstream.provider(params)
    row = PROVIDERS[provider]
    api_base = "" if params.mock_response is not None else upstream.api_base(params, provider, row, lookup)
    api_key = params.api_key or (None if params.mock_response is not None else upstream.own_key(row, api_base, lookup))
    if secrets and params.mock_response is None:
        upstream.needs_key(params, row, provider, api_base, api_key)
    for what, text in (("api_key", api_key.reveal() if api_key else ""), ("organization", params.organization or "")):
        if headers.VALUE.fullmatch(text) is None:
            raise LeaveOutError(f"litellm_params.{what} has characters that can't be sent in a header")
    return Deployment(
        id=DeploymentId(info.id or digest),
        model_name=name,
        provider=provider,
        upstream_model=upstream_model,
        api_base=api_base,
        api_key=api_key,
        weight=_positive(params.weight, "weight"),
        order=params.order,
        timeout_ms=_milliseconds(params.timeout, "timeout") or TIMEOUT_MS,
        price=prices.price({**info_tree, **extra}, f"{place}.litellm_params"),
        base_model=info.base_model,
        mock_response=params.mock_response,
        extra_headers={**params.headers, **params.extra_headers},
        organization=params.organization,
        stream_timeout_ms=_milliseconds(params.stream_timeout, "stream_timeout"),
        api_version=params.api_version,
        azure_ad_token=params.azure_ad_token,
        tenant_id=params.tenant_id,
        client_id=params.client_id,
        client_secret=params.client_secret,
        azure_authority=params.azure_authority_host,
        cooldown_s=params.cooldown_time,
        retries=params.max_retries if params.num_retries is None else params.num_retries,
        rpm=params.rpm,
        tpm=params.tpm,
        input_tokens_max=info.max_input_tokens,
        params=params,
        parameters={key: value for key, value in extra.items() if not prices.is_price(key)},
        info={str(key): value for key, value in info_tree.items()},
        team_id=info.team_id or None,
        team_name=info.team_public_model_name or None,
    )


def _other_keys(entry: dict[Any, Any], place: str, reading: Reading) -> None:
    for key in entry:
        if key not in ("model_name", "litellm_params", "model_info"):
            known_there = str(key) in known(EntryParams) or prices.is_price(str(key))
            hint = "it belongs in litellm_params" if known_there else "not a key of an entry"
            reading.say(f"{place}.{key}", "unknown", hint)
            reading.warn(f"{place}.{key}: not used ({hint})")


_FIELDS = known(EntryParams)
SECRETS = frozenset(name for name, field in _FIELDS.items() if "Secret" in str(field.type))
"""Of `litellm_params`."""
_MUST = frozenset(
    {
        "model",
        "api_base",
        "base_url",
        "custom_llm_provider",
        "mock_response",
        "vertex_project",
        "aws_bedrock_runtime_endpoint",
    }
)
"""What is missing in these would send the call, or its credential, somewhere else."""


def _params(
    tree: dict[str, Any], at: str, credentials: Mapping[str, dict[str, Any]], reading: Reading, *, secrets: bool
) -> tuple[EntryParams, dict[str, Any]]:
    """(the typed keys, the others: prices and parameters)."""
    named = tree.get("litellm_credential_name")
    if named is not None:
        values = credentials.get(str(named))
        if values is None:
            raise NoCredentialError(str(named))
        tree = {**values, **tree}
    given: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in tree.items():
        place, name = f"{at}.{key}", str(key)
        unset = first_unset(value)
        if name in ("extra_headers", "headers"):
            given[name] = headers.read(value, place, reading)
        elif unset is None:
            given[name] = value
        elif name in _MUST or (secrets and name in SECRETS):
            raise LeaveOutError(f"litellm_params.{name}: {unset}")
        elif name not in SECRETS:
            reading.warn(f"{place}: {unset}")
    given["model"] = _string(tree.get("model"), "litellm_params.model")
    params = section(
        EntryParams,
        given,
        at,
        without_effect.ENTRY,
        reading,
        rest=lambda key, value: _extra(key, value, extra, at, reading),
    )
    return params, extra


def _extra(name: str, value: Any, extra: dict[str, Any], at: str, reading: Reading) -> None:
    """A price, or a parameter of the request."""
    extra[name] = value
    if prices.is_price(name) and value == prices.UNKNOWN:
        reading.say(f"{at}.{name}", "differently", "no price: -1 says that nobody knows it")
        return
    if prices.is_price(name) or PARAMETERS.services:
        reading.say(f"{at}.{name}", "acts", "" if prices.is_price(name) else "sent unless the caller says otherwise")
    else:
        reading.say(f"{at}.{name}", "no effect", "a request's parameters from here aren't sent yet")
        reading.warn(f"{at}.{name}: not used")


def _info(tree: dict[str, Any], at: str, reading: Reading) -> EntryInfo:
    shown = {
        key: value for key, value in tree.items() if str(key) not in known(EntryInfo) and not prices.is_price(str(key))
    }
    for key in shown:
        reading.say(f"{at}.{key}", "acts", without_effect.INFO_NOTE)
    for key in tree:
        if prices.is_price(str(key)):
            reading.say(f"{at}.{key}", "acts")
    mine = {key: value for key, value in tree.items() if str(key) in known(EntryInfo)}
    return section(EntryInfo, mine, at, {}, reading)


def _string(value: Any, what: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, Unset):
        raise LeaveOutError(f"{what}: {value}")
    if not isinstance(value, str) or not value:
        raise LeaveOutError(f"{what} must be a string" + (", like openai/gpt-4o" if what.endswith(".model") else ""))
    return value


def _positive(value: float, what: str) -> float:
    if not 0 <= value < 1e12:
        raise LeaveOutError(f"litellm_params.{what} must be a number of zero or more")
    return value


def _milliseconds(seconds: float | None, what: str) -> int | None:
    if seconds is None or math.isinf(seconds):
        return None
    return max(1, int(_positive(seconds, what) * 1000))


def _digest(entry: Any, at: str) -> str:
    """The same for the same entry, wherever in the file it stands."""
    try:
        return hashlib.sha256(msgspec.json.encode(entry, order="deterministic")).hexdigest()
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ConfigError(f"{at} holds something that is no string, number, list or mapping") from None


def _refuse_repeated_id(deployment: Deployment, before: list[Deployment]) -> None:
    """Two identical entries are one deployment (LiteLLM allows the repetition); two different ones
    with one id are a mistake.
    """
    for other in before:
        if other.id == deployment.id and (other.model_name, other.upstream_model, other.api_base) != (
            deployment.model_name, deployment.upstream_model, deployment.api_base,
        ):  # fmt: skip
            raise LeaveOutError(f"model_info.id {deployment.id!r} is used by two different entries")
