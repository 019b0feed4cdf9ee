"""Which provider speaks how: one row a prefix of `litellm_params.model`; whoever has none speaks OpenAI's wire."""

from collections.abc import Iterable

from services.edge.providers.azure import Azure
from services.edge.providers.base import Provider, Target
from services.edge.providers.mock import Mock
from services.edge.providers.openai import OpenAICompatible
from shared.config import Deployment
from shared.ids import DeploymentId

OPENAI, MOCK = OpenAICompatible(), Mock()

PROVIDERS: dict[str, Provider] = {
    "azure": Azure(),
    "azure_text": Azure(),
}


def provider_of(deployment: Deployment) -> Provider:
    if deployment.mock_response is not None:
        return MOCK
    return PROVIDERS.get(deployment.provider, OPENAI)


def build(deployments: Iterable[Deployment], user_agent: str) -> dict[DeploymentId, Target]:
    """Every deployment of the configuration, made ready once. Raises ConfigError naming the model that can't be called."""
    return {deployment.id: provider_of(deployment).target(deployment, user_agent) for deployment in deployments}
