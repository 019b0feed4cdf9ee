"""Which provider speaks how: one row a wire of shared/config/providers.py; whoever has none speaks
OpenAI's.
"""

from collections.abc import Iterable, Mapping

import msgspec
import structlog

from services.edge.formats.openai import CHAT
from services.edge.providers import params, vertex
from services.edge.providers.anthropic import Anthropic, Foundry
from services.edge.providers.azure import Azure, AzureAI
from services.edge.providers.base import Provider, Target
from services.edge.providers.bedrock import Bedrock
from services.edge.providers.copilot import Copilot
from services.edge.providers.merging import Merging
from services.edge.providers.mock import Mock
from services.edge.providers.native import Cohere, Gemini, Ollama
from services.edge.providers.openai import OpenAICompatible
from services.edge.providers.params import Parameters
from services.edge.providers.sagemaker import SageMaker
from services.edge.providers.translate import openai_chat__anthropic
from services.edge.providers.vertex import Vertex
from services.edge.providers.watsonx import Watsonx
from shared.config import ConfigError, Deployment, providers
from shared.config.schema import LitellmSettings
from shared.ids import DeploymentId

log = structlog.get_logger()

OPENAI, MOCK = OpenAICompatible(), Mock()

WIRES = frozenset(
    {
        "openai", "azure", "azure_ai", "anthropic", "bedrock", "cohere", "gemini", "github_copilot", "ollama", "sagemaker_chat", "vertex_ai",
        "watsonx",
    }
)  # fmt: skip
"""That are spoken here; shared/config/providers.py has the same."""


class Table:
    """The rows, made once with the environment that some of them read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._rows: dict[str, Provider] = {
            "anthropic": Anthropic({CHAT.name: openai_chat__anthropic}),
            "azure": Azure(),
            "azure_ai": AzureAI(),
            "bedrock": Bedrock(environ),
            "cohere": Cohere(),
            "gemini": Gemini(),
            "github_copilot": Copilot(environ),
            "ollama": Ollama(),
            "openai": OPENAI,
            "sagemaker_chat": SageMaker(environ),
            "watsonx": Watsonx(environ),
        }
        self._foundry = Foundry({CHAT.name: openai_chat__anthropic})
        self._vertex = {kind: Vertex(kind, environ) for kind in ("gemini", "claude", "openai")}

    def provider_of(self, deployment: Deployment) -> Provider:
        if deployment.mock_response is not None:
            return MOCK
        row = providers.PROVIDERS.get(deployment.provider)
        wire = row.wire if row is not None else "openai"
        if wire == "azure_ai" and "claude" in deployment.upstream_model.lower():
            return self._foundry
        if wire == "vertex_ai":
            return self._vertex[vertex.kind_of(deployment.upstream_model)]
        return self._rows.get(wire, OPENAI)


def build(
    deployments: Iterable[Deployment],
    user_agent: str,
    litellm: LitellmSettings | None = None,
    environ: Mapping[str, str] | None = None,
    left_out: dict[DeploymentId, str] | None = None,
) -> dict[DeploymentId, Target]:
    """Every deployment of the configuration, made ready once.

    Args:
        left_out: takes the reasons of those that can't be called: one of them never stops the
            others. None: raises ConfigError.
    """
    table, settings = Table(environ or {}), litellm or LitellmSettings()
    targets = {}
    for deployment in deployments:
        try:
            target = table.provider_of(deployment).target(deployment, user_agent)
        except ConfigError as error:
            if left_out is None:
                raise
            left_out[deployment.id] = str(error)
            continue
        targets[deployment.id] = msgspec.structs.replace(
            target,
            parameters=_parameters(deployment, settings),
            provider=Merging(target.provider)
            if deployment.params.merge_reasoning_content_in_choices
            else target.provider,
            parallel_max=deployment.params.max_parallel_requests or None,
            modify_params=_either(deployment.params.modify_params, settings.modify_params),
        )
    return targets


def _parameters(deployment: Deployment, settings: LitellmSettings) -> Parameters | None:
    entry = deployment.params
    drop = entry.drop_params
    return params.of(
        deployment.provider,
        deployment.upstream_model,
        defaults=deployment.parameters,
        extra_body=entry.extra_body,
        drop=_either(None if isinstance(drop, list) else drop, settings.drop_params),
        additional_drop=[
            *settings.additional_drop_params,
            *entry.additional_drop_params,
            *(drop if isinstance(drop, list) else ()),
        ],
        allowed=entry.allowed_openai_params,
        cache_points=deployment.params.cache_control_injection_points,
    )


def _either(own: bool | None, of_all: bool) -> bool:
    """An entry's own word goes before the settings'."""
    return of_all if own is None else own
