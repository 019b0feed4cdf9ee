"""IBM watsonx.ai: its chat and embeddings, with a token that IBM Cloud gives for an API key.

https://cloud.ibm.com/apidocs/watsonx-ai
"""

import os
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode

import msgspec

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, EMBEDDINGS
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from services.edge.providers.tokens import FetchedToken
from services.edge.providers.translate import openai_chat__watsonx, openai_embeddings__watsonx
from shared.config import Deployment
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.secrets.value import Secret

VERSION = "2025-02-06"
IAM = "https://iam.cloud.ibm.com/identity/token"
_GRANT = "urn:ibm:params:oauth:grant-type:apikey"


class Watsonx:
    """See base.Provider. An entry's `project_id` goes into each request."""

    wires: Mapping[str, str] = {}
    translators: Mapping[str, Translator] = {
        CHAT.name: openai_chat__watsonx,
        EMBEDDINGS.name: openai_embeddings__watsonx,
    }

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        if deployment.params.project_id is None and self._environ.get("WATSONX_PROJECT_ID"):
            params = msgspec.structs.replace(deployment.params, project_id=self._environ["WATSONX_PROJECT_ID"])
            deployment = msgspec.structs.replace(deployment, params=params)
        token = self._environ.get("WATSONX_TOKEN")
        if deployment.api_key is None and token:
            return base.target(self, deployment, user_agent, {"authorization": f"Bearer {token}"})
        credentials = None
        if deployment.api_key is not None:
            credentials = IbmToken(deployment.api_key, self._environ.get("WATSONX_IAM_URL") or IAM)
        return base.target(self, deployment, user_agent, {}, credentials)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at = f"{target.base_path}/ml/v1"
        if model.startswith("deployment/"):
            at += f"/deployments/{quote(model.removeprefix('deployment/'), safe='-._~')}"
        what = "embeddings" if format == EMBEDDINGS.name else "chat_stream" if stream else "chat"
        return f"{at}/text/{what}?version={target.deployment.api_version or VERSION}"

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int = 3600


class IbmToken(FetchedToken):
    issuer = "IBM Cloud"

    def __init__(self, key: Secret, url: str) -> None:
        super().__init__()
        self._key, self._url = key, url

    async def _fetch(self) -> tuple[str, float]:
        outbound = Outbound(OutboundSettings.read(os.environ), Guard(any_address=True))
        try:
            answer = await outbound.send(
                "POST",
                self._url,
                headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
                body=urlencode({"grant_type": _GRANT, "apikey": self._key.reveal()}).encode(),
                deadline_ms=8_000,
                answer_bytes_max=65_536,
            )
        finally:
            await outbound.close()
        if answer.status != 200:
            raise PermissionError(f"status {answer.status}")
        found = msgspec.json.decode(answer.body, type=_Token)
        return found.access_token, time.time() + found.expires_in
