"""Amazon Bedrock: Converse for chat, InvokeModel for embeddings; requests signed (SigV4), or with a
Bedrock API key.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, EMBEDDINGS
from services.edge.providers import base, sigv4
from services.edge.providers.base import CredentialsError, Target, Translator
from services.edge.providers.translate import openai_chat__bedrock, openai_embeddings__bedrock
from services.edge.upstream import render_headers
from shared.config import Deployment
from shared.config.schema.entry import EntryParams
from shared.secrets.value import Secret

REGION = "us-east-1"
FETCH_TIMEOUT_S = 10
SLACK_S = 300
"""Credentials that end are replaced so long before."""
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):")
_REGION = re.compile(r"(?P<region>[a-z]{2}(?:-gov)?-[a-z]+-\d)/")
_ROUTES = ("converse/", "invoke/", "converse_like/", "anthropic/", "llama/", "nova/")
"""LiteLLM's ways to say which of Bedrock's wires to use; Converse has all these models."""


class Bedrock:
    """See base.Provider."""

    wires: Mapping[str, str] = {}
    translators: Mapping[str, Translator] = {
        CHAT.name: openai_chat__bedrock,
        EMBEDDINGS.name: openai_embeddings__bedrock,
    }

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        params = deployment.params
        region = region_of(deployment, self._environ)
        api_base = params.aws_bedrock_runtime_endpoint or deployment.api_base
        api_base = (
            api_base
            or self._environ.get("AWS_BEDROCK_RUNTIME_ENDPOINT")
            or f"https://bedrock-runtime.{region}.amazonaws.com"
        )
        key = deployment.api_key
        if key is None and not params.aws_access_key_id:  # the machine's, where the entry has no credential of its own
            key = _secret(self._environ.get("AWS_BEARER_TOKEN_BEDROCK"))
        if key is not None:
            return base.target(
                self, deployment, user_agent, {"authorization": f"Bearer {key.reveal()}"}, None, api_base
            )
        made = base.target(self, deployment, user_agent, {}, None, api_base)
        assert made.origin is not None
        signing = Signing(params, made.origin.authority, region, "bedrock", self._environ)
        return base.target(self, deployment, user_agent, {}, signing, api_base)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        what = "invoke" if format == EMBEDDINGS.name else "converse-stream" if stream else "converse"
        return f"{target.base_path}/model/{quote(model_id(model), safe='-._~')}/{what}"

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()


def region_of(deployment: Deployment, environ: Mapping[str, str]) -> str:
    """The entry's, its ARN's or LiteLLM's prefix, else the environment's."""
    found = _ARN.search(deployment.upstream_model) or _REGION.match(deployment.upstream_model)
    named = deployment.params.aws_region_name or (found["region"] if found is not None else None)
    variables = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
    return named or next((environ[name] for name in variables if environ.get(name)), REGION)


def model_id(model: str) -> str:
    """Without LiteLLM's route and region in front."""
    name = _REGION.sub("", model, count=1)
    for route in _ROUTES:
        name = name.removeprefix(route)
    return name


def _secret(text: str | None) -> Secret | None:
    return Secret(text) if text else None


class Signing:
    """See base.Credentials: a signature for every request, by the entry's keys, a role they may
    assume, or what the machine offers.

    Keys that end are fetched when the first call needs them and again before they end, in a thread:
    botocore waits for the network.
    """

    def __init__(self, params: EntryParams, host: str, region: str, service: str, environ: Mapping[str, str]) -> None:
        self._params = params
        self._host, self._region, self._service = host, region, service
        self._environ = environ
        self._credentials: sigv4.Credentials | None = None
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def headers(self, method: str, path: str, body: bytes) -> bytes:
        now = time.time()
        if now >= self._until - SLACK_S:
            await self._renew(now)
        assert self._credentials is not None
        signed = sigv4.sign(
            method,
            self._host,
            path.partition("?")[0],
            body,
            region=self._region,
            service=self._service,
            credentials=self._credentials,
            now_s=int(now),
        )
        return render_headers(signed.items())

    async def _renew(self, now: float) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        try:
            await asyncio.wait_for(asyncio.shield(asking), FETCH_TIMEOUT_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if now >= self._until:
                raise CredentialsError(f"AWS gave no credentials ({type(error).__name__})") from None
        finally:
            if asking.done() and self._asking is asking:
                self._asking = None

    async def _ask(self) -> None:
        params = self._params
        if params.aws_access_key_id and params.aws_secret_access_key and not params.aws_role_name:
            self._credentials = sigv4.Credentials(
                params.aws_access_key_id.reveal(), params.aws_secret_access_key, params.aws_session_token
            )
            self._until = float("inf")
            return
        self._credentials, self._until = await asyncio.to_thread(self._fetch)

    def _fetch(self) -> tuple[sigv4.Credentials, float]:
        import botocore.session  # noqa: PLC0415 - heavy, and seldom needed

        params = self._params
        session = botocore.session.Session(profile=params.aws_profile_name)
        if params.aws_role_name:
            return self._assumed(session)
        found = session.get_credentials()
        if found is None:
            raise LookupError("no AWS credentials")
        frozen = found.get_frozen_credentials()
        expiry = getattr(found, "_expiry_time", None)
        # Without an end of their own they are looked at again, should somebody have rotated them.
        until = expiry.timestamp() if expiry is not None else time.time() + 3600
        return sigv4.Credentials(frozen.access_key, Secret(frozen.secret_key), _secret(frozen.token)), until

    def _assumed(self, session: Any) -> tuple[sigv4.Credentials, float]:
        params = self._params
        more: dict[str, Any] = {"region_name": self._region}
        if params.aws_sts_endpoint:
            more["endpoint_url"] = params.aws_sts_endpoint
        if params.aws_access_key_id and params.aws_secret_access_key:
            more["aws_access_key_id"] = params.aws_access_key_id.reveal()
            more["aws_secret_access_key"] = params.aws_secret_access_key.reveal()
            if params.aws_session_token:
                more["aws_session_token"] = params.aws_session_token.reveal()
        sts = session.create_client("sts", **more)
        asked: dict[str, Any] = {
            "RoleArn": params.aws_role_name,
            "RoleSessionName": params.aws_session_name or "tollgate",
        }
        if params.aws_web_identity_token:
            answer = sts.assume_role_with_web_identity(**asked, WebIdentityToken=params.aws_web_identity_token.reveal())
        else:
            if params.aws_external_id:
                asked["ExternalId"] = params.aws_external_id
            answer = sts.assume_role(**asked)
        found = answer["Credentials"]
        credentials = sigv4.Credentials(
            found["AccessKeyId"], Secret(found["SecretAccessKey"]), Secret(found["SessionToken"])
        )
        return credentials, found["Expiration"].timestamp()
