"""Providers' own APIs under our keys: `/openai/...`, `/anthropic/...`, with the organisation's
credential, which is in the environment.

They reach all that the credential may do (files, batches, fine-tunes of everybody), so nobody has
them who wasn't given them: a key or its team names the path in `allowed_passthrough_routes`; proxy
admins have all. A row whose credential isn't there isn't there either.
"""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from services.edge.providers.base import Credentials
from services.edge.providers.bedrock import REGION, Signing
from services.edge.providers.vertex import LOCATION, GoogleToken
from shared.config.providers import PROVIDERS
from shared.config.schema.entry import EntryParams
from shared.passthrough import Entries, Entry
from shared.secrets.value import Secret

log = structlog.get_logger()


class Row(NamedTuple):
    path: str
    provider: str
    """Whose variables (shared/config/providers.py) hold address and key."""
    header: str = "authorization"
    scheme: str = "Bearer "
    base: str = ""
    """Where it is, if nobody says otherwise; empty: the provider's own address without its
    version.
    """
    forwards: tuple[str, ...] = ()
    """The caller's headers that its API reads."""
    keys: tuple[str, ...] = ()
    """Variables, where the provider isn't in the table."""


ROWS = (
    Row("/openai", "openai", forwards=("openai-beta",)),
    Row("/openai_passthrough", "openai", forwards=("openai-beta",)),
    Row(
        "/anthropic",
        "anthropic",
        "x-api-key",
        "",
        forwards=("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
    ),
    Row("/azure", "azure", "api-key", ""),
    Row("/azure_ai", "azure_ai", "api-key", ""),
    Row("/gemini", "gemini", "x-goog-api-key", "", "https://generativelanguage.googleapis.com"),
    Row("/cohere", "cohere"),
    Row("/mistral", "mistral"),
    Row("/vllm", "hosted_vllm"),
    Row("/openrouter", "openrouter"),
    Row("/nvidia_nim", "nvidia_nim"),
    Row("/assemblyai", "", scheme="", base="https://api.assemblyai.com", keys=("ASSEMBLYAI_API_KEY",)),
    Row("/eu.assemblyai", "", scheme="", base="https://api.eu.assemblyai.com", keys=("ASSEMBLYAI_API_KEY",)),
    Row("/deepgram", "", scheme="Token ", base="https://api.deepgram.com", keys=("DEEPGRAM_API_KEY",)),
    Row("/fal_ai", "", scheme="Key ", base="https://fal.run", keys=("FAL_AI_API_KEY", "FAL_KEY")),
)


def read(environ: Mapping[str, str], configured: Entries) -> tuple[list[Entry], dict[str, Credentials]]:
    """The routes whose credentials are there, and what signs the calls of those that have no plain
    key.

    Args:
        configured: an endpoint of the operator's with the same path stands instead.
    """
    taken = {entry.path for entry in configured.all}
    entries: list[Entry] = []
    signers: dict[str, Credentials] = {}
    for row in ROWS:
        address, key = _address(row, environ), _first(environ, *_keys(row))
        if address is None or (key is None and row.provider != "hosted_vllm"):
            continue
        headers = {} if key is None else {row.header: f"{row.scheme}{key}"}
        version = _first(environ, "AZURE_API_VERSION") if row.path == "/azure" else None
        more: dict[str, Any] = {"default_query_params": {"api-version": version}} if version else {}
        entries.append(_entry(row.path, address, headers, row.forwards, **more))
    langfuse = _first(environ, "LANGFUSE_PUBLIC_KEY"), _first(environ, "LANGFUSE_SECRET_KEY")
    if all(langfuse):
        basic = base64.b64encode(f"{langfuse[0]}:{langfuse[1]}".encode()).decode()
        address = _first(environ, "LANGFUSE_HOST", "LANGFUSE_BASE_URL") or "https://cloud.langfuse.com"
        entries.append(_entry("/langfuse", address, {"authorization": f"Basic {basic}"}))
    for entry, signer in (*_bedrock(environ), *_vertex(environ)):
        entries.append(entry)
        if signer is not None:
            signers[entry.id] = signer
    return [entry for entry in entries if entry.path not in taken], signers


def _entry(path: str, address: str, headers: dict[str, str], forwards: tuple[str, ...] = (), **more: Any) -> Entry:
    address = address.rstrip("/")
    version = next((v for v in ("/v1", "/v1beta") if address.endswith(v)), "")
    return Entry(
        id=f"provider{path}",
        path=path,
        target=address,
        headers=headers,
        include_subpath=True,
        only_listed=True,
        drops=version,
        forwards=forwards,
        **more,
    )


def _keys(row: Row) -> tuple[str, ...]:
    return row.keys or PROVIDERS[row.provider].key_variables


def _address(row: Row, environ: Mapping[str, str]) -> str | None:
    if not row.provider:
        return row.base
    found = PROVIDERS[row.provider]
    return _first(environ, *found.base_variables) or row.base or found.api_base or None


def _bedrock(environ: Mapping[str, str]) -> list[tuple[Entry, Credentials | None]]:
    region = _first(environ, "AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION") or REGION
    host = f"bedrock-runtime.{region}.amazonaws.com"
    token = _first(environ, "AWS_BEARER_TOKEN_BEDROCK")
    if token is not None:
        return [(_entry("/bedrock", f"https://{host}", {"authorization": f"Bearer {token}"}), None)]
    key_id, secret = _first(environ, "AWS_ACCESS_KEY_ID"), _first(environ, "AWS_SECRET_ACCESS_KEY")
    if key_id is None or secret is None:
        return []
    session = _first(environ, "AWS_SESSION_TOKEN")
    params = EntryParams(
        model="bedrock",
        aws_access_key_id=Secret(key_id),
        aws_secret_access_key=Secret(secret),
        aws_session_token=None if session is None else Secret(session),
    )
    signing = Signing(params, host, region, "bedrock", environ)
    return [(_entry("/bedrock", f"https://{host}", {}), signing)]


def _vertex(environ: Mapping[str, str]) -> list[tuple[Entry, Credentials | None]]:
    """Where a service account is named: a project's path is the caller's to write."""
    if _first(environ, "GOOGLE_APPLICATION_CREDENTIALS") is None:
        return []
    location = _first(environ, "VERTEXAI_LOCATION", "VERTEX_LOCATION") or LOCATION
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
    token = GoogleToken(None, environ)
    return [(_entry(path, f"https://{host}", {}), token) for path in ("/vertex_ai", "/vertex-ai")]


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
