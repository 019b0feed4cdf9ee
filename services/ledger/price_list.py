"""Which price a model has by name: that of its last entry in the file, as in LiteLLM; of a name the
file doesn't have, the table's.
"""

from collections.abc import Callable, Iterable

from shared.billing import Price
from shared.config import Deployment

Lookup = Callable[[str, str], Price | None]


class PriceList:
    def __init__(self, deployments: Iterable[Deployment], lookup: Lookup) -> None:
        self._deployments = list(deployments)
        self._lookup = lookup

    def of(self, model: str) -> Price | None:
        """None: nobody knows it."""
        for deployment in reversed(self._deployments):
            if deployment.model_name == model:
                found = deployment.price or self._lookup(
                    deployment.provider, deployment.base_model or deployment.upstream_model
                )
                if found is not None:
                    return found
        provider, slash, name = model.partition("/")
        return (self._lookup(provider, name) if slash else None) or self._guess(model)

    def _guess(self, model: str) -> Price | None:
        for provider in ("openai", "anthropic", "gemini", "mistral", "xai", "deepseek", "cohere"):
            found = self._lookup(provider, model)
            if found is not None:
                return found
        return None
