"""The providers LiteLLM names, as data: which wire each speaks, where it is, and which variables
hold its address and key.

One row a provider. What a wire is (paths, headers, translation) isn't known here: `wire` is only a
name.
"""

import re

from shared.config.not_served import NOT_SERVED, OWN, SPEECH
from shared.config.openai_providers import OPENAI_PROVIDERS
from shared.config.provider import OPENAI_WIRE, Provider

SERVED_WIRES = frozenset(
    {
        OPENAI_WIRE, "azure", "azure_ai", "anthropic", "bedrock", "cohere", "gemini", "github_copilot", "ollama", "sagemaker_chat",
        "vertex_ai", "watsonx",
    }
)  # fmt: skip
"""Wires that the edge speaks: whoever teaches it one adds its name. A test compares."""

_BY_DEPLOYMENT = "an address for each deployment: name it openai/... with that api_base"
_CONTAINER = "an endpoint's format is its container's; one that speaks OpenAI's is sagemaker_chat/..."

PROVIDERS: dict[str, Provider] = {
    **OPENAI_PROVIDERS,
    **NOT_SERVED,
    # Formats of their own.
    "cloudflare": Provider(
        "cloudflare", "https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai",
        ("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN"), ("CLOUDFLARE_API_BASE",), openai_path="/v1",
    ),
    "nlp_cloud": Provider("nlp_cloud", "https://api.nlpcloud.io/v1/gpu", ("NLP_CLOUD_API_KEY",), why_not=OWN),
    "petals": Provider("petals", needs_key=False, why_not=OWN),
    "predibase": Provider("predibase", "", ("PREDIBASE_API_KEY",), why_not=_BY_DEPLOYMENT),
    "triton": Provider("triton", needs_key=False, why_not=OWN),
    "gigachat": Provider("gigachat", "", ("GIGACHAT_API_KEY", "GIGACHAT_CREDENTIALS"), why_not="its tokens are got in a way of its own"),
    "oci": Provider("oci", needs_key=False, why_not="requests are signed in a way of its own"),
    "aleph_alpha": Provider("aleph_alpha", "", ("ALEPH_ALPHA_API_KEY",), why_not=OWN),
    "deepgram": Provider("deepgram", "https://api.deepgram.com/v1", ("DEEPGRAM_API_KEY",), why_not=SPEECH),
    "elevenlabs": Provider("elevenlabs", "https://api.elevenlabs.io", ("ELEVENLABS_API_KEY",), why_not=SPEECH),
    "chatgpt": Provider("chatgpt", needs_key=False, why_not="a person's subscription, by a sign-in of its own"),
    "anthropic": Provider(
        "anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",),
        ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"), openai_path="/v1",
    ),
    "azure": Provider("azure", "", ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"), ("AZURE_API_BASE",)),
    "azure_text": Provider("azure", "", ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"), ("AZURE_API_BASE",)),
    "azure_ai": Provider("azure_ai", "", ("AZURE_AI_API_KEY",), ("AZURE_AI_API_BASE",), openai_path=""),
    "bedrock": Provider("bedrock", needs_key=False),
    "bedrock_converse": Provider("bedrock", needs_key=False),
    "cohere": Provider("cohere", "https://api.cohere.com", ("COHERE_API_KEY", "CO_API_KEY"), ("COHERE_API_BASE",),
        openai_path="/compatibility/v1"),
    "cohere_chat": Provider("cohere", "https://api.cohere.com", ("COHERE_API_KEY", "CO_API_KEY"), ("COHERE_API_BASE",),
        openai_path="/compatibility/v1"),
    "databricks": Provider("databricks", "", ("DATABRICKS_API_KEY", "DATABRICKS_TOKEN"), ("DATABRICKS_API_BASE",), openai_path=""),
    "gemini": Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("GEMINI_API_BASE",),
        openai_path="/openai",
    ),
    "github_copilot": Provider(
        "github_copilot", "https://api.githubcopilot.com", base_variables=("GITHUB_COPILOT_API_BASE",), needs_key=False
    ),
    "ollama": Provider(
        "ollama", "http://localhost:11434", ("OLLAMA_API_KEY",), ("OLLAMA_API_BASE",), needs_key=False, openai_path="/v1"
    ),
    "ollama_chat": Provider(
        "ollama", "http://localhost:11434", ("OLLAMA_API_KEY",), ("OLLAMA_API_BASE",), needs_key=False, openai_path="/v1"
    ),
    "palm": Provider("palm", key_variables=("PALM_API_KEY",), why_not="it is no more; name the model gemini/..."),
    "replicate": Provider("replicate", "https://api.replicate.com/v1", ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"), why_not=OWN),
    "sagemaker": Provider("sagemaker", needs_key=False, why_not=_CONTAINER),
    "sagemaker_chat": Provider("sagemaker_chat", needs_key=False),
    "snowflake": Provider("snowflake", "", ("SNOWFLAKE_JWT",), ("SNOWFLAKE_API_BASE",), why_not=OWN),
    "vertex_ai": Provider("vertex_ai", needs_key=False),
    "vertex_ai_beta": Provider("vertex_ai", needs_key=False),
    "watsonx": Provider(
        "watsonx", "", ("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY"), ("WATSONX_API_BASE", "WATSONX_URL", "WX_URL")
    ),
    "watsonx_text": Provider(
        "watsonx", "", ("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY"), ("WATSONX_API_BASE", "WATSONX_URL", "WX_URL")
    ),
}  # fmt: skip
"""A prefix of `litellm_params.model` that isn't here is part of the model's name."""

_FAMILIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), provider)
    for pattern, provider in (
        (r"gpt-3\.5-turbo-instruct|babbage-002|davinci-002", "text-completion-openai"),
        (r"(ft:)?(gpt-|chatgpt-|o[134](-|$)|text-embedding-(3-|ada-)|text-moderation-|omni-moderation-)", "openai"),
        (r"(dall-e-|whisper-|tts-1|sora-|codex-|computer-use-preview)", "openai"),
        (r"claude-", "anthropic"),
        (r"((us|eu|apac|au|jp|global|us-gov)\.)?(anthropic|amazon|meta|cohere|ai21|mistral|deepseek|writer)\.", "bedrock"),
        (r"(command(-|$)|c4ai-aya-)", "cohere"),
        (r"embed-(english|multilingual|v4)", "cohere"),
    )
)  # fmt: skip
_GEMINI = re.compile(r"gemini-|text-embedding-00|textembedding-gecko|imagen-")


def of_model_name(model: str, *, has_key: bool) -> str | None:
    """The provider of a model name without a prefix, as its maker names it; None: nobody is known
    by that name.

    Args:
        has_key: whether the entry has an api_key. Google's models are Vertex AI's in LiteLLM; an
            API key is AI Studio's, which Vertex AI would not take.
    """
    if _GEMINI.match(model):
        return "gemini" if has_key else "vertex_ai"
    return next((provider for pattern, provider in _FAMILIES if pattern.match(model)), None)


_NATIVE_TAILS = {
    "ollama": ("/api/chat", "/api/generate", "/api"),
    "cohere": ("/v1/chat", "/v2/chat", "/v1", "/v2"),
    "cloudflare": ("/run",),
}
_GOOGLE = "https://generativelanguage.googleapis.com"


def openai_base(row: Provider, base: str) -> str | None:
    """The address at which a provider with a format of its own answers in OpenAI's; None: at none.

    Args:
        base: its usual address, or an entry's.
    """
    path = row.openai_path
    if path is None or not base:
        return None
    if not path or base.endswith(path):
        return base
    if row.wire == "gemini":
        if not base.startswith(_GOOGLE):
            return base
        return (base if base != _GOOGLE else f"{base}/v1beta") + path
    for tail in _NATIVE_TAILS.get(row.wire, ()):
        if base.endswith(tail):
            base = base.removesuffix(tail)
            break
    return base if base.endswith("/v1") else base + path
