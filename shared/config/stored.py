"""Models and credentials that were added by API: which of their values are secrets, what they may
say, and how one becomes a Deployment. Pure.

Whoever adds a model has a key of the gateway, not the gateway's machine. So what is added can't
read that machine's environment or files, and can't have its cloud identity sent to an address of
its own choosing. `general_settings.trust_stored_models` lifts that.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.config import deployments, references
from shared.config.deployments import SECRETS, Deployment, LeftOut
from shared.config.errors import ConfigError, LeaveOutError
from shared.config.fields import Reading
from shared.config.providers import PROVIDERS
from shared.config.references import Lookup
from shared.config.schema import GeneralSettings
from shared.config.schema.entry import EntryParams
from shared.decoding import UNREADABLE

MASK = "********"
"""Stands for a secret in answers; sent back, it means the secret that is there already."""
SEALED = "sealed"
"""What a service without the key has instead of a secret."""
VARIABLE = "STORE_MODEL_IN_DB"


class StoredSettings(msgspec.Struct, frozen=True):
    on: bool = False
    """Whether models may be added, and those that were added are served."""
    trusted: bool = False


def settings(general: GeneralSettings, environ: Mapping[str, str]) -> StoredSettings:
    on = general.store_model_in_db or environ.get(VARIABLE, "").strip().lower() in ("true", "1")
    return StoredSettings(on, general.trust_stored_models)


# ── which values are secrets ──

_HEADERS = frozenset({"headers", "extra_headers"})
_SECRET_NAME = re.compile(r"(^|[_-])(key|token|secret|password|passwd|credentials?|authorization)$", re.IGNORECASE)
_LOOKS_LIKE_A_KEY = re.compile(r"(bearer\s+)?sk-\S{8,}", re.IGNORECASE)


def is_secret(name: str, value: Any) -> bool:
    """Whether a value of `litellm_params` or `credential_values` may never be shown: rather one too
    many than one too few.
    """
    return name in SECRETS or name in _HEADERS or _holds_secret(name, value)


def _holds_secret(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return _SECRET_NAME.search(name) is not None or _LOOKS_LIKE_A_KEY.match(value.strip()) is not None
    if isinstance(value, dict):
        return any(_holds_secret(str(key), item) for key, item in value.items())
    if isinstance(value, list):
        return any(_holds_secret(name, item) for item in value)
    return False


# ── what may be said ──


def refuse_references(values: Mapping[str, Any], at: str) -> None:
    """Raises LeaveOutError for the first reference to a variable or a secret manager."""
    for name, value in values.items():
        if next(references.collect(value, name), None) is not None:
            raise LeaveOutError(
                f"{at}.{name} names a variable or a secret manager of the gateway's: "
                "that is for config.yaml, or general_settings.trust_stored_models"
            )


_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_AWS_KEYS = ("aws_access_key_id", "aws_secret_access_key")
_AMBIENT: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "bedrock": ((("api_key",), _AWS_KEYS), _AWS),
    "sagemaker_chat": ((_AWS_KEYS,), _AWS),
    "vertex_ai": ((("api_key",), ("vertex_credentials",)), (".googleapis.com",)),
    "azure": (
        (("api_key",), ("azure_ad_token",), ("tenant_id", "client_id", "client_secret")),
        (".openai.azure.com", ".cognitiveservices.azure.com"),
    ),
    "github_copilot": ((("api_key",),), (".githubcopilot.com",)),
    "watsonx": ((("api_key",),), (".cloud.ibm.com",)),
}
"""Wire → what makes up a credential of its own, and the hosts that may get the machine's where an
entry has none.
"""
_ENTRA = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.chinacloudapi.cn",
        "login.partner.microsoftonline.cn",
    }
)


def check(deployment: Deployment) -> None:
    """Raises LeaveOutError for what only the file may do."""
    params = deployment.params
    if params.aws_profile_name:
        raise LeaveOutError("litellm_params.aws_profile_name: profiles are the machine's, not for models added by API")
    if isinstance(params.ssl_verify, str):
        raise LeaveOutError("litellm_params.ssl_verify must be true or false here: files are the machine's")
    for name in ("vertex_location", "aws_region_name"):
        value = getattr(params, name)
        if value is not None and _NAME.fullmatch(value) is None:
            raise LeaveOutError(f"litellm_params.{name} must be the name of a region")
    if params.aws_role_name and not (_has(params, _AWS_KEYS) or params.aws_web_identity_token):
        raise LeaveOutError(
            "litellm_params.aws_role_name needs AWS keys of its own here: the machine's role isn't lent"
        )
    if params.aws_sts_endpoint and not _host(params.aws_sts_endpoint).endswith(_AWS):
        raise LeaveOutError("litellm_params.aws_sts_endpoint must be an address of AWS")
    if params.azure_authority_host and _host(params.azure_authority_host) not in _ENTRA:
        raise LeaveOutError("litellm_params.azure_authority_host must be an address of Microsoft Entra")
    own, hosts = _AMBIENT.get(PROVIDERS[deployment.provider].wire, ((), ()))
    named = params.aws_bedrock_runtime_endpoint or params.api_base or params.base_url
    lent = own and deployment.mock_response is None and not any(_has(params, names) for names in own)
    if lent and named and not _host(named).endswith(hosts):
        raise LeaveOutError(
            f"litellm_params: an entry without {' or '.join(names[-1] for names in own)} would send the machine's own credential to "
            f"{_host(named)[:128]!r}, which is none of the provider's addresses"
        )
    if params.vertex_credentials is not None:
        _check_google(params.vertex_credentials.reveal())


def _has(params: EntryParams, names: tuple[str, ...]) -> bool:
    return all(getattr(params, name) for name in names)


def _check_google(text: str) -> None:
    """A service account's key, with Google's own address for its tokens: other kinds read files, or
    are sent elsewhere.
    """
    if text == SEALED:
        return
    try:
        found = msgspec.json.decode(text)
    except UNREADABLE:
        found = None
    if not isinstance(found, dict) or found.get("type") != "service_account":
        raise LeaveOutError("litellm_params.vertex_credentials must be a service account's key (JSON), no file's name")
    token_uri = found.get("token_uri")
    if not isinstance(token_uri, str) or not _host(token_uri).endswith(".googleapis.com"):
        raise LeaveOutError("litellm_params.vertex_credentials: token_uri must be an address of Google's")


def _host(address: str) -> str:
    """Empty for what is no address."""
    try:
        return urlsplit(address.strip()).hostname or ""
    except ValueError:
        return ""


# ── becoming a Deployment ──


def deployment(
    model_id: str,
    model_name: str,
    params: Mapping[str, Any],
    info: Mapping[str, Any],
    credentials: Mapping[str, dict[str, Any]],
    stored_credentials: Mapping[str, dict[str, Any]],
    lookup: Lookup,
    *,
    trusted: bool,
    secrets: bool,
) -> Deployment:
    """
    Args:
        params: secrets in it in the clear, or `SEALED`.
        credentials: the file's, references resolved.
        stored_credentials: those that were added by API, as `params`.
        secrets: whether all secrets are in the clear, and an entry without its credential is left
            out.
    Raises LeaveOutError.
    """
    if not trusted:
        refuse_references(params, "litellm_params")
    entry = {"model_name": model_name, "litellm_params": dict(params), "model_info": {**info, "id": model_id}}
    named = params.get("litellm_credential_name")
    own = {named: stored_credentials[named]} if isinstance(named, str) and named in stored_credentials else {}
    found = {**credentials, **_usable(own, lookup, trusted=trusted)}
    return _made(entry, found, lookup, trusted=trusted, secrets=secrets)


def waiting(
    entry: LeftOut, credentials: Mapping[str, dict[str, Any]], lookup: Lookup, *, trusted: bool, secrets: bool
) -> Deployment:
    """An entry of the file that names a credential, once that was added by API. The entry is the
    operator's own word, the credential's values aren't. Raises LeaveOutError."""
    found = _usable(credentials, lookup, trusted=trusted)
    return _made(entry.entry, found, lookup, trusted=trusted, secrets=secrets)


def _usable(
    stored_credentials: Mapping[str, dict[str, Any]], lookup: Lookup, *, trusted: bool
) -> dict[str, dict[str, Any]]:
    """References in them resolved, or refused: LeaveOutError."""
    found = {}
    for name, values in stored_credentials.items():
        if not trusted:
            refuse_references(values, f"credential {name}")
        found[name] = references.resolve(values, lookup) if trusted else values
    return found


def _made(
    entry: dict[str, Any], credentials: Mapping[str, dict[str, Any]], lookup: Lookup, *, trusted: bool, secrets: bool
) -> Deployment:
    """Raises LeaveOutError."""
    try:
        made = deployments.one(entry, "entry", lookup, credentials, Reading(), secrets=secrets)
    except ConfigError as error:
        raise LeaveOutError(str(error).removeprefix("entry.")) from None
    if not trusted:
        check(made)
    return made
