"""Azure OpenAI: OpenAI's wire at a deployment's path, with `api-version`, and an `api-key` or an
Entra token.

Source: Azure OpenAI's REST reference
(`/openai/deployments/{deployment-id}/chat/completions?api-version=...`), and its v1 API
(`/openai/v1/chat/completions`, the deployment as `model`).
"""

from typing import Any
from urllib.parse import quote, urlsplit

from services.edge.providers import base
from services.edge.providers.base import Target
from services.edge.providers.openai import OpenAICompatible
from services.edge.providers.tokens import FetchedToken
from shared.config import Deployment

API_VERSION = "2024-10-21"
"""The newest that is generally available; an entry's `api_version` goes before it."""
FOUNDRY_VERSION = "2024-05-01-preview"
SCOPE = "https://cognitiveservices.azure.com/.default"


class Azure(OpenAICompatible):
    def target(self, deployment: Deployment, user_agent: str) -> Target:
        headers: dict[str, str] = {}
        credentials = None
        if deployment.azure_ad_token is not None:
            headers["authorization"] = f"Bearer {deployment.azure_ad_token.reveal()}"
        elif deployment.api_key is not None:
            headers["api-key"] = deployment.api_key.reveal()
        elif deployment.extra_headers.keys().isdisjoint({"api-key", "Api-Key", "authorization", "Authorization"}):
            credentials = EntraToken(deployment)
        # What follows the resource's address in `api_base` is LiteLLM users' habit, not part of it.
        api_base = deployment.api_base.partition("/openai/deployments/")[0].partition("?")[0]
        return base.target(self, deployment, user_agent, headers, credentials, api_base)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at, suffix = target.base_path, self.wires[format]
        if at.endswith("/v1"):
            return at + suffix
        version = quote(target.deployment.api_version or API_VERSION, safe="-._")
        at = at.removesuffix("/openai")
        return f"{at}/openai/deployments/{quote(model, safe='-._')}{suffix}?api-version={version}"


class AzureAI(OpenAICompatible):
    """Models in Azure AI Foundry: OpenAI's wire at `/models` of a resource, or at an endpoint of
    its own.
    """

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        headers: dict[str, str] = {}
        if deployment.api_key is not None:
            key = deployment.api_key.reveal()
            headers = {"api-key": key} if _is_foundry(deployment.api_base) else {"authorization": f"Bearer {key}"}
        return base.target(self, deployment, user_agent, headers, None, deployment.api_base.partition("?")[0])

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at, suffix = target.base_path, self.wires[format]
        if at.endswith(suffix):
            return at
        if not _is_foundry(target.deployment.api_base) or at.endswith("/v1"):
            return at + suffix
        version = quote(target.deployment.api_version or FOUNDRY_VERSION, safe="-._")
        return f"{at.removesuffix('/models')}/models{suffix}?api-version={version}"


def _is_foundry(api_base: str) -> bool:
    return (urlsplit(api_base).hostname or "").endswith((".services.ai.azure.com", ".cognitiveservices.azure.com"))


class EntraToken(FetchedToken):
    """Of Microsoft Entra ID, for whoever the entry names (`tenant_id`, `client_id`,
    `client_secret`), else what the machine offers (a managed identity, a workload identity, the
    environment)."""

    issuer = "Microsoft Entra"

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self._deployment = deployment
        self._credential: Any = None

    async def _fetch(self) -> tuple[str, float]:
        if self._credential is None:
            self._credential = _credential(self._deployment)
        token = await self._credential.get_token(SCOPE)
        return token.token, float(token.expires_on)


def _credential(deployment: Deployment) -> Any:
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential  # noqa: PLC0415 - heavy, and seldom needed

    secret = deployment.client_secret
    if deployment.tenant_id and deployment.client_id and secret is not None:
        more = {"authority": deployment.azure_authority} if deployment.azure_authority else {}
        return ClientSecretCredential(deployment.tenant_id, deployment.client_id, secret.reveal(), **more)
    return DefaultAzureCredential()
