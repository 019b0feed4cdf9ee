"""`{model_name: "*", litellm_params: {model: "*"}}`, and `infer_model_from_keys`: whoever a caller
names, by `provider/model` or by a name that is its maker's, where the environment has that
provider's key. Pure.

Such an entry stands for one a provider: the same ones for every service, whether or not it knows
the keys. One that brings a credential isn't taken so: it would go to whomever the caller names.
"""

from typing import Any

NAMED = (
    "openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "openrouter", "xai", "cohere", "together_ai", "perplexity", "cerebras",
    "fireworks_ai", "nvidia_nim", "deepinfra", "moonshot", "dashscope", "voyage", "sambanova",
)  # fmt: skip
"""Called `provider/model`."""
MADE = {
    "gpt-*": "openai", "chatgpt-*": "openai", "o1*": "openai", "o3*": "openai", "o4*": "openai", "text-embedding-3*": "openai",
    "claude-*": "anthropic", "gemini-*": "gemini", "command-*": "cohere",
}  # fmt: skip
"""Names of models, and who makes them."""
_ENTRY: dict[str, Any] = {"model_name": "*", "litellm_params": {"model": "*"}}
NO_KEY = "no provider's key is in the environment"


def listed(entries: Any, infers: bool) -> Any:
    """`model_list`; with an entry for everybody where the file infers models and has none."""
    if not infers or not isinstance(entries or [], list) or any(map(is_meant, entries or [])):
        return entries
    return [*(entries or []), _ENTRY]


def is_meant(entry: Any) -> bool:
    """Whether an entry stands for everybody."""
    params = entry.get("litellm_params") if isinstance(entry, dict) else None
    if not isinstance(params, dict) or entry.get("model_name") != "*" or params.get("model") != "*":
        return False
    said = {str(key) for key, value in params.items() if value is not None}
    return not said & {
        "api_key",
        "api_base",
        "base_url",
        "custom_llm_provider",
        "litellm_credential_name",
        "mock_response",
    }


def entries(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """What it stands for. An id of its own is the beginning of each one's."""
    pairs = {
        **{f"{name}/*": f"{name}/*" for name in NAMED},
        **{name: f"{maker}/{name}" for name, maker in MADE.items()},
    }
    params, info = entry["litellm_params"], entry.get("model_info")
    found = [
        {**entry, "model_name": name, "litellm_params": {**params, "model": model}} for name, model in pairs.items()
    ]
    if isinstance(info, dict) and info.get("id"):
        return [{**each, "model_info": {**info, "id": f"{info['id']}:{each['model_name']}"}} for each in found]
    return found
