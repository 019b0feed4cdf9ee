"""The providers LiteLLM names, as data: which wire each speaks, where it is, and which variables
hold its address and key.

One row a provider. What a wire is (paths, headers, translation) isn't known here: `wire` is only a
name.
"""

import re

from msgspec import Struct

OPENAI_WIRE = "openai"

SERVED_WIRES = frozenset(
    {
        OPENAI_WIRE, "azure", "azure_ai", "anthropic", "bedrock", "cohere", "gemini", "github_copilot", "ollama", "sagemaker_chat",
        "vertex_ai", "watsonx",
    }
)  # fmt: skip
"""Wires that the edge speaks: whoever teaches it one adds its name. A test compares."""


class Provider(Struct, frozen=True):
    """What can be known of a provider before anybody configured it."""

    wire: str
    """`openai`: speaks OpenAI's format itself, byte for byte. Others name their own format."""
    api_base: str = ""
    """Used where an entry has no `api_base`, with the variables in braces; empty: there is no
    address that is right for everybody.
    """
    key_variables: tuple[str, ...] = ()
    """Used in this order where an entry has no `api_key`."""
    base_variables: tuple[str, ...] = ()
    """Used in this order where an entry has no `api_base`; they go before our own default."""
    needs_key: bool = True
    """False: a server of one's own, which may well ask for no key, or one with credentials of
    another kind.
    """
    openai_path: str | None = None
    """Where, under its own address, a provider with a format of its own also answers in OpenAI's:
    used while the edge doesn't speak the provider's own. None: nowhere."""


def _openai(api_base: str, *key_variables: str, base: tuple[str, ...] = (), needs_key: bool = True) -> Provider:
    return Provider(OPENAI_WIRE, api_base, key_variables, base, needs_key)


PROVIDERS: dict[str, Provider] = {
    "openai": _openai("https://api.openai.com/v1", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "text-completion-openai": _openai(
        "https://api.openai.com/v1", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")
    ),
    "custom_openai": _openai("", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "openai_like": _openai("", "OPENAI_LIKE_API_KEY", base=("OPENAI_LIKE_API_BASE",)),
    "ai21": _openai("https://api.ai21.com/studio/v1", "AI21_API_KEY", base=("AI21_API_BASE",)),
    "ai21_chat": _openai("https://api.ai21.com/studio/v1", "AI21_API_KEY", base=("AI21_API_BASE",)),
    "anyscale": _openai("https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY"),
    "baseten": _openai("https://inference.baseten.co/v1", "BASETEN_API_KEY"),
    "cerebras": _openai("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", base=("CEREBRAS_API_BASE",)),
    "codestral": _openai("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "cometapi": _openai("https://api.cometapi.com/v1", "COMETAPI_KEY", "COMETAPI_API_KEY", base=("COMETAPI_API_BASE",)),
    "dashscope": _openai(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", base=("DASHSCOPE_API_BASE",)
    ),
    "deepinfra": _openai(
        "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", base=("DEEPINFRA_API_BASE",)
    ),
    "deepseek": _openai("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", base=("DEEPSEEK_API_BASE",)),
    "docker_model_runner": _openai(
        "http://localhost:12434/engines/llama.cpp/v1", base=("DOCKER_MODEL_RUNNER_API_BASE",), needs_key=False
    ),
    "empower": _openai("https://app.empower.dev/api/v1", "EMPOWER_API_KEY"),
    "featherless_ai": _openai(
        "https://api.featherless.ai/v1", "FEATHERLESS_AI_API_KEY", base=("FEATHERLESS_API_BASE",)
    ),
    "fireworks_ai": _openai(
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN",
        base=("FIREWORKS_API_BASE",),
    ),
    "friendliai": _openai(
        "https://api.friendli.ai/serverless/v1", "FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN", base=("FRIENDLI_API_BASE",)
    ),
    "galadriel": _openai("https://api.galadriel.com/v1", "GALADRIEL_API_KEY", base=("GALADRIEL_API_BASE",)),
    "github": _openai("https://models.inference.ai.azure.com", "GITHUB_API_KEY", base=("GITHUB_API_BASE",)),
    "groq": _openai("https://api.groq.com/openai/v1", "GROQ_API_KEY", base=("GROQ_API_BASE",)),
    "hosted_vllm": _openai("", "HOSTED_VLLM_API_KEY", base=("HOSTED_VLLM_API_BASE",), needs_key=False),
    "huggingface": _openai(
        "https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_API_KEY", base=("HF_API_BASE", "HUGGINGFACE_API_BASE")
    ),
    "hyperbolic": _openai("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY", base=("HYPERBOLIC_API_BASE",)),
    "inception": _openai("https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY", base=("INCEPTION_API_BASE",)),
    "infinity": _openai("", "INFINITY_API_KEY", base=("INFINITY_API_BASE",), needs_key=False),
    "jina_ai": _openai("https://api.jina.ai/v1", "JINA_AI_API_KEY", "JINA_AI_TOKEN"),
    "lambda_ai": _openai("https://api.lambda.ai/v1", "LAMBDA_API_KEY", base=("LAMBDA_API_BASE",)),
    "litellm_proxy": _openai("", "LITELLM_PROXY_API_KEY", base=("LITELLM_PROXY_API_BASE",), needs_key=False),
    "llamafile": _openai(
        "http://127.0.0.1:8080/v1", "LLAMAFILE_API_KEY", base=("LLAMAFILE_API_BASE",), needs_key=False
    ),
    "lm_studio": _openai("", "LM_STUDIO_API_KEY", base=("LM_STUDIO_API_BASE",), needs_key=False),
    "meta_llama": _openai("https://api.llama.com/compat/v1", "LLAMA_API_KEY", base=("LLAMA_API_BASE",)),
    "minimax": _openai("https://api.minimax.io/v1", "MINIMAX_API_KEY", base=("MINIMAX_API_BASE",)),
    "mistral": _openai("https://api.mistral.ai/v1", "MISTRAL_API_KEY", base=("MISTRAL_API_BASE",)),
    "moonshot": _openai("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", base=("MOONSHOT_API_BASE",)),
    "morph": _openai("https://api.morphllm.com/v1", "MORPH_API_KEY", base=("MORPH_API_BASE",)),
    "nano-gpt": _openai("https://nano-gpt.com/api/v1", "NANOGPT_API_KEY", base=("NANOGPT_API_BASE",)),
    "nebius": _openai("https://api.studio.nebius.ai/v1", "NEBIUS_API_KEY", base=("NEBIUS_API_BASE",)),
    "novita": _openai("https://api.novita.ai/v3/openai", "NOVITA_API_KEY", base=("NOVITA_API_BASE",)),
    "nscale": _openai("https://inference.api.nscale.com/v1", "NSCALE_API_KEY", base=("NSCALE_API_BASE",)),
    "nvidia_nim": _openai(
        "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY", base=("NVIDIA_NIM_API_BASE",)
    ),
    "openrouter": _openai(
        "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OR_API_KEY", base=("OPENROUTER_API_BASE",)
    ),
    "ovhcloud": _openai(
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", "OVHCLOUD_API_KEY", base=("OVHCLOUD_API_BASE",)
    ),
    "perplexity": _openai(
        "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY", base=("PERPLEXITY_API_BASE",)
    ),
    "sambanova": _openai("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", base=("SAMBANOVA_API_BASE",)),
    "synthetic": _openai("https://api.synthetic.new/openai/v1", "SYNTHETIC_API_KEY", base=("SYNTHETIC_API_BASE",)),
    "together_ai": _openai(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN",
        base=("TOGETHER_AI_API_BASE",),
    ),
    "v0": _openai("https://api.v0.dev/v1", "V0_API_KEY", base=("V0_API_BASE",)),
    "vercel_ai_gateway": _openai(
        "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN",
        base=("VERCEL_AI_GATEWAY_API_BASE",),
    ),
    "vllm": _openai("", "HOSTED_VLLM_API_KEY", base=("HOSTED_VLLM_API_BASE", "VLLM_API_BASE"), needs_key=False),
    "volcengine": _openai(
        "https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY", "ARK_API_KEY", base=("VOLCENGINE_API_BASE",)
    ),
    "voyage": _openai("https://api.voyageai.com/v1", "VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", base=("VOYAGE_API_BASE",)),
    "wandb": _openai("https://api.inference.wandb.ai/v1", "WANDB_API_KEY", base=("WANDB_API_BASE",)),
    "xai": _openai("https://api.x.ai/v1", "XAI_API_KEY", base=("XAI_API_BASE",)),
    "xinference": _openai(
        "http://127.0.0.1:9997/v1", "XINFERENCE_API_KEY", base=("XINFERENCE_API_BASE",), needs_key=False
    ),
    "zai": _openai("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", base=("ZAI_API_BASE",)),
    "aihubmix": _openai("https://aihubmix.com/v1", "AIHUBMIX_API_KEY", base=("AIHUBMIX_API_BASE",)),
    "aiml": _openai("https://api.aimlapi.com/v1", "AIML_API_KEY", base=("AIML_API_BASE",)),
    "apertis": _openai("https://api.stima.tech/v1", "STIMA_API_KEY"),
    "chutes": _openai("https://llm.chutes.ai/v1", "CHUTES_API_KEY"),
    "clarifai": _openai("https://api.clarifai.com/v2/ext/openai/v1", "CLARIFAI_API_KEY", "CLARIFAI_PAT"),
    "custom": _openai("", "OPENAI_API_KEY"),
    "edenai": _openai("https://api.edenai.run/v3", "EDENAI_API_KEY"),
    "gmi": _openai("https://api.gmi-serving.com/v1", "GMI_API_KEY"),
    "gradient_ai": _openai("https://inference.do-ai.run/v1", "GRADIENT_AI_API_KEY"),
    "helicone": _openai("https://ai-gateway.helicone.ai", "HELICONE_API_KEY"),
    "heroku": _openai("", "HEROKU_API_KEY", base=("HEROKU_API_BASE",)),
    "lemonade": _openai("http://localhost:8000/api/v1", "LEMONADE_API_KEY", base=("LEMONADE_API_BASE",), needs_key=False),
    "maritalk": _openai("https://chat.maritaca.ai/api", "MARITALK_API_KEY"),
    "modelscope": _openai("https://api-inference.modelscope.cn/v1", "MODELSCOPE_API_KEY"),
    "oobabooga": _openai("", "OOBABOOGA_API_KEY", needs_key=False),
    "poe": _openai("https://api.poe.com/v1", "POE_API_KEY"),
    "publicai": _openai("https://api.publicai.co/v1", "PUBLICAI_API_KEY", base=("PUBLICAI_API_BASE",)),
    "qwencloud": _openai(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", base=("DASHSCOPE_API_BASE",)
    ),
    "sarvam": _openai("https://api.sarvam.ai/v1", "SARVAM_API_KEY"),
    "scaleway": _openai("https://api.scaleway.ai/v1", "SCW_SECRET_KEY"),
    "tencent": _openai("https://tokenhub-intl.tencentcloudmaas.com/v1", "TENCENT_API_KEY", base=("TENCENT_API_BASE",)),
    "text-completion-codestral": _openai("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "text-completion-inception": _openai("https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY"),
    "veniceai": _openai("https://api.venice.ai/api/v1", "VENICE_AI_API_KEY"),
    "xiaomi_mimo": _openai("https://api.xiaomimimo.com/v1", "XIAOMI_MIMO_API_KEY"),
    "zhipu": _openai("https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY", "ZAI_API_KEY"),
    "bigmodel": _openai("https://open.bigmodel.cn/api/paas/v4", "BIGMODEL_API_KEY", "ZHIPUAI_API_KEY"),
    # Formats of their own.
    "cloudflare": Provider(
        "cloudflare", "https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai",
        ("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN"), ("CLOUDFLARE_API_BASE",), openai_path="/v1",
    ),
    "nlp_cloud": Provider("nlp_cloud", "https://api.nlpcloud.io/v1/gpu", ("NLP_CLOUD_API_KEY",)),
    "petals": Provider("petals", needs_key=False),
    "predibase": Provider("predibase", "", ("PREDIBASE_API_KEY",)),
    "triton": Provider("triton", needs_key=False),
    "gigachat": Provider("gigachat", "", ("GIGACHAT_API_KEY", "GIGACHAT_CREDENTIALS")),
    "oci": Provider("oci", needs_key=False),
    "aleph_alpha": Provider("aleph_alpha", "", ("ALEPH_ALPHA_API_KEY",)),
    "deepgram": Provider("deepgram", "https://api.deepgram.com/v1", ("DEEPGRAM_API_KEY",)),
    "elevenlabs": Provider("elevenlabs", "https://api.elevenlabs.io", ("ELEVENLABS_API_KEY",)),
    "assemblyai": Provider("assemblyai", "https://api.assemblyai.com", ("ASSEMBLYAI_API_KEY",)),
    "chatgpt": Provider("chatgpt", needs_key=False),
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
    "palm": Provider("palm", key_variables=("PALM_API_KEY",)),
    "replicate": Provider("replicate", "https://api.replicate.com/v1", ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN")),
    "sagemaker": Provider("sagemaker", needs_key=False),
    "sagemaker_chat": Provider("sagemaker_chat", needs_key=False),
    "snowflake": Provider("snowflake", "", ("SNOWFLAKE_JWT",), ("SNOWFLAKE_API_BASE",)),
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
