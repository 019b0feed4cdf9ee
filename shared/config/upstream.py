"""Whose a model is, where it is called, and with which key of the environment. Pure.

An entry's credential goes to the address that the entry names, or to its provider's; a key of the
environment only to the provider it belongs to. Never to anybody else.
"""

import re
from urllib.parse import urlsplit

from shared.config.errors import LeaveOutError
from shared.config.provider import Provider
from shared.config.providers import PROVIDERS, SERVED_WIRES, of_model_name, openai_base
from shared.config.references import Lookup
from shared.config.schema.entry import EntryParams
from shared.secrets.value import Secret

_ADDRESSED = frozenset({"openai", "azure", "azure_ai", "databricks", "watsonx"})
"""Wires whose address nobody can know but the operator, where the provider's row has none. Others
make theirs of a region or a project.
"""


def provider(params: EntryParams) -> tuple[str, str]:
    """(provider, its name for the model). A name that says no provider goes where the entry says,
    or to its maker; never elsewhere: the entry's key would go there too."""
    model = params.model
    prefix, slash, rest = model.partition("/")
    if params.custom_llm_provider is not None:
        if params.custom_llm_provider not in PROVIDERS:
            raise LeaveOutError(f"litellm_params.custom_llm_provider: {params.custom_llm_provider!r} is not known here")
        return params.custom_llm_provider, rest if slash and prefix == params.custom_llm_provider else model
    if slash and prefix in PROVIDERS:
        if not rest:
            raise LeaveOutError("litellm_params.model must be a string, like openai/gpt-4o")
        return prefix, rest
    maker = of_model_name(model, has_key=params.api_key is not None)
    if maker is not None:
        return maker, model
    if params.api_base or params.base_url or params.mock_response is not None:
        return "openai", model
    raise LeaveOutError(
        f"litellm_params.model: {model!r} doesn't say whose it is: write provider/model (like openai/gpt-4o), or give an api_base"
    )


def api_base(params: EntryParams, provider: str, row: Provider, lookup: Lookup) -> str:
    named = params.api_base or params.base_url
    base = named or next((found for found in map(lookup, row.base_variables) if found), "") or _filled(row, lookup)
    base = base.strip().rstrip("/")
    served = row.wire in SERVED_WIRES
    if not base and (row.wire in _ADDRESSED if served else row.openai_path is not None):
        raise LeaveOutError(f"litellm_params: provider {provider!r} needs an api_base")
    if served:
        return _callable(base) if base else ""
    found = openai_base(row, base)
    if found is None:
        why = row.why_not or "its format isn't spoken here"
        raise LeaveOutError(f"litellm_params: provider {provider!r} isn't served: {why}")
    return _callable(found)


_VARIABLE = re.compile(r"\{([A-Z_]+)\}")


def _filled(row: Provider, lookup: Lookup) -> str:
    """A provider's usual address, with what it says of the account."""

    def value(found: re.Match[str]) -> str:
        part = (lookup(found[1]) or "").strip()
        if re.fullmatch(r"[\w-]+", part) is None:
            raise LeaveOutError(
                f"litellm_params: no api_base, and {found[1]} isn't set to a name of letters and digits"
            )
        return part

    return _VARIABLE.sub(value, row.api_base)


def _usual(row: Provider, lookup: Lookup) -> str:
    try:
        return _filled(row, lookup)
    except LeaveOutError:
        return ""


_VISIBLE = re.compile(r"[!-~]+")


def _callable(base: str) -> str:
    """Raises LeaveOutError for an address that can't be called."""
    if why := why_not_callable(base):
        raise LeaveOutError(f"litellm_params.api_base {why}")
    return base


def why_not_callable(base: str) -> str:
    """Why nobody can be called there; empty: somebody can. It doesn't quote the address: a password
    may be in it.
    """
    try:
        parts = urlsplit(base)
        port_is_one = parts.port != 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if not (parts.scheme in ("http", "https") and parts.hostname and port_is_one and _VISIBLE.fullmatch(base)):
        return "is no address that starts with http:// or https://"
    return "has a user name or password in it; credentials belong in a header" if "@" in parts.netloc else ""


def own_key(row: Provider, api_base: str, lookup: Lookup) -> Secret | None:
    """The key of the environment that belongs to the address: OPENAI_API_KEY goes to OpenAI, not to
    whatever else speaks its format.
    """
    at = urlsplit(api_base).hostname
    bases = [_usual(row, lookup), *(lookup(name) or "" for name in row.base_variables)]
    if row.api_base and at not in {urlsplit(base).hostname for base in bases}:
        hosts = (other for other in PROVIDERS.values() if other.api_base and urlsplit(other.api_base).hostname == at)
        row = next(hosts, Provider(row.wire))
    found = next((value for value in map(lookup, row.key_variables) if value), None)
    return Secret(found) if found else None


def needs_key(params: EntryParams, row: Provider, provider: str, api_base: str, api_key: Secret | None) -> None:
    """A public provider refuses a call without a key; a server of one's own needn't."""
    own_server = bool(params.api_base or params.base_url)
    if api_key or not row.needs_key or own_server or params.headers or params.extra_headers or params.azure_ad_token:
        return
    if row.wire == "azure":  # Entra may give a token
        return
    names = " and ".join(row.key_variables)
    raise LeaveOutError(f"litellm_params: no api_key, and {names} isn't set" if names else "litellm_params: no api_key")
