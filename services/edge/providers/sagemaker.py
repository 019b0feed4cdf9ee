"""Amazon SageMaker endpoints that speak OpenAI's chat format (`sagemaker_chat/<endpoint>`): signed,
and streamed in binary frames.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from services.edge.providers.bedrock import Signing, region_of
from services.edge.providers.translate import openai_chat__sagemaker
from shared.config import Deployment


class SageMaker:
    """See base.Provider."""

    wires: Mapping[str, str] = {}
    translators: Mapping[str, Translator] = {CHAT.name: openai_chat__sagemaker}

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        region = region_of(deployment, self._environ)
        api_base = deployment.api_base or f"https://runtime.sagemaker.{region}.amazonaws.com"
        made = base.target(self, deployment, user_agent, {}, None, api_base)
        assert made.origin is not None
        signing = Signing(deployment.params, made.origin.authority, region, "sagemaker", self._environ)
        return base.target(self, deployment, user_agent, {}, signing, api_base)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        what = "invocations-response-stream" if stream else "invocations"
        return f"{target.base_path}/endpoints/{quote(model, safe='-._~')}/{what}"

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()
