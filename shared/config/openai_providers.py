"""Who speaks OpenAI's format, as data: where, and which variables hold the address and the key."""

from shared.config.provider import Provider, speaks_openai

OPENAI_PROVIDERS: dict[str, Provider] = {
    "openai": speaks_openai("https://api.openai.com/v1", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "text-completion-openai": speaks_openai(
        "https://api.openai.com/v1", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")
    ),
    "custom_openai": speaks_openai("", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "openai_like": speaks_openai("", "OPENAI_LIKE_API_KEY", base=("OPENAI_LIKE_API_BASE",)),
    "ai21": speaks_openai("https://api.ai21.com/studio/v1", "AI21_API_KEY", base=("AI21_API_BASE",)),
    "ai21_chat": speaks_openai("https://api.ai21.com/studio/v1", "AI21_API_KEY", base=("AI21_API_BASE",)),
    "anyscale": speaks_openai("https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY", base=("ANYSCALE_API_BASE",)),
    "baseten": speaks_openai("https://inference.baseten.co/v1", "BASETEN_API_KEY", base=("BASETEN_API_BASE",)),
    "cerebras": speaks_openai("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", base=("CEREBRAS_API_BASE",)),
    "codestral": speaks_openai("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "cometapi": speaks_openai("https://api.cometapi.com/v1", "COMETAPI_KEY", "COMETAPI_API_KEY", base=("COMETAPI_API_BASE",)),
    "dashscope": speaks_openai(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", base=("DASHSCOPE_API_BASE",)
    ),
    "deepinfra": speaks_openai(
        "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", base=("DEEPINFRA_API_BASE",)
    ),
    "deepseek": speaks_openai("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", base=("DEEPSEEK_API_BASE",)),
    "docker_model_runner": speaks_openai(
        "http://localhost:12434/engines/llama.cpp/v1", base=("DOCKER_MODEL_RUNNER_API_BASE",), needs_key=False
    ),
    "empower": speaks_openai("https://app.empower.dev/api/v1", "EMPOWER_API_KEY", base=("EMPOWER_API_BASE",)),
    "featherless_ai": speaks_openai(
        "https://api.featherless.ai/v1", "FEATHERLESS_AI_API_KEY", base=("FEATHERLESS_API_BASE",)
    ),
    "fireworks_ai": speaks_openai(
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN",
        base=("FIREWORKS_API_BASE",),
    ),
    "friendliai": speaks_openai(
        "https://api.friendli.ai/serverless/v1", "FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN", base=("FRIENDLI_API_BASE",)
    ),
    "galadriel": speaks_openai("https://api.galadriel.com/v1", "GALADRIEL_API_KEY", base=("GALADRIEL_API_BASE",)),
    "github": speaks_openai("https://models.inference.ai.azure.com", "GITHUB_API_KEY", base=("GITHUB_API_BASE",)),
    "groq": speaks_openai("https://api.groq.com/openai/v1", "GROQ_API_KEY", base=("GROQ_API_BASE",)),
    "hosted_vllm": speaks_openai("", "HOSTED_VLLM_API_KEY", base=("HOSTED_VLLM_API_BASE",), needs_key=False),
    "huggingface": speaks_openai(
        "https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_API_KEY", base=("HF_API_BASE", "HUGGINGFACE_API_BASE")
    ),
    "hyperbolic": speaks_openai("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY", base=("HYPERBOLIC_API_BASE",)),
    "inception": speaks_openai("https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY", base=("INCEPTION_API_BASE",)),
    "infinity": speaks_openai("", "INFINITY_API_KEY", base=("INFINITY_API_BASE",), needs_key=False),
    "jina_ai": speaks_openai("https://api.jina.ai/v1", "JINA_AI_API_KEY", "JINA_AI_TOKEN"),
    "lambda_ai": speaks_openai("https://api.lambda.ai/v1", "LAMBDA_API_KEY", base=("LAMBDA_API_BASE",)),
    "litellm_proxy": speaks_openai("", "LITELLM_PROXY_API_KEY", base=("LITELLM_PROXY_API_BASE",), needs_key=False),
    "llamafile": speaks_openai(
        "http://127.0.0.1:8080/v1", "LLAMAFILE_API_KEY", base=("LLAMAFILE_API_BASE",), needs_key=False
    ),
    "lm_studio": speaks_openai("", "LM_STUDIO_API_KEY", base=("LM_STUDIO_API_BASE",), needs_key=False),
    "meta_llama": speaks_openai("https://api.llama.com/compat/v1", "LLAMA_API_KEY", base=("LLAMA_API_BASE",)),
    "minimax": speaks_openai("https://api.minimax.io/v1", "MINIMAX_API_KEY", base=("MINIMAX_API_BASE",)),
    "mistral": speaks_openai("https://api.mistral.ai/v1", "MISTRAL_API_KEY", base=("MISTRAL_API_BASE",)),
    "moonshot": speaks_openai("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", base=("MOONSHOT_API_BASE",)),
    "morph": speaks_openai("https://api.morphllm.com/v1", "MORPH_API_KEY", base=("MORPH_API_BASE",)),
    "nano-gpt": speaks_openai("https://nano-gpt.com/api/v1", "NANOGPT_API_KEY", base=("NANOGPT_API_BASE",)),
    "nebius": speaks_openai("https://api.studio.nebius.ai/v1", "NEBIUS_API_KEY", base=("NEBIUS_API_BASE",)),
    "novita": speaks_openai("https://api.novita.ai/v3/openai", "NOVITA_API_KEY", base=("NOVITA_API_BASE",)),
    "nscale": speaks_openai("https://inference.api.nscale.com/v1", "NSCALE_API_KEY", base=("NSCALE_API_BASE",)),
    "nvidia_nim": speaks_openai(
        "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY", base=("NVIDIA_NIM_API_BASE",)
    ),
    "openrouter": speaks_openai(
        "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OR_API_KEY", base=("OPENROUTER_API_BASE",)
    ),
    "ovhcloud": speaks_openai(
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", "OVHCLOUD_API_KEY", base=("OVHCLOUD_API_BASE",)
    ),
    "perplexity": speaks_openai(
        "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY", base=("PERPLEXITY_API_BASE",)
    ),
    "sambanova": speaks_openai("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", base=("SAMBANOVA_API_BASE",)),
    "synthetic": speaks_openai("https://api.synthetic.new/openai/v1", "SYNTHETIC_API_KEY", base=("SYNTHETIC_API_BASE",)),
    "together_ai": speaks_openai(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN",
        base=("TOGETHER_AI_API_BASE",),
    ),
    "v0": speaks_openai("https://api.v0.dev/v1", "V0_API_KEY", base=("V0_API_BASE",)),
    "vercel_ai_gateway": speaks_openai(
        "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN",
        base=("VERCEL_AI_GATEWAY_API_BASE",),
    ),
    "vllm": speaks_openai("", "HOSTED_VLLM_API_KEY", base=("HOSTED_VLLM_API_BASE", "VLLM_API_BASE"), needs_key=False),
    "volcengine": speaks_openai(
        "https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY", "ARK_API_KEY", base=("VOLCENGINE_API_BASE",)
    ),
    "voyage": speaks_openai("https://api.voyageai.com/v1", "VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", base=("VOYAGE_API_BASE",)),
    "wandb": speaks_openai("https://api.inference.wandb.ai/v1", "WANDB_API_KEY", base=("WANDB_API_BASE",)),
    "xai": speaks_openai("https://api.x.ai/v1", "XAI_API_KEY", base=("XAI_API_BASE",)),
    "xinference": speaks_openai(
        "http://127.0.0.1:9997/v1", "XINFERENCE_API_KEY", base=("XINFERENCE_API_BASE",), needs_key=False
    ),
    "zai": speaks_openai("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", base=("ZAI_API_BASE",)),
    "aihubmix": speaks_openai("https://aihubmix.com/v1", "AIHUBMIX_API_KEY", base=("AIHUBMIX_API_BASE",)),
    "aiml": speaks_openai("https://api.aimlapi.com/v1", "AIML_API_KEY", base=("AIML_API_BASE",)),
    "apertis": speaks_openai("https://api.stima.tech/v1", "STIMA_API_KEY"),
    "chutes": speaks_openai("https://llm.chutes.ai/v1", "CHUTES_API_KEY"),
    "clarifai": speaks_openai("https://api.clarifai.com/v2/ext/openai/v1", "CLARIFAI_API_KEY", "CLARIFAI_PAT"),
    "custom": speaks_openai("", "OPENAI_API_KEY"),
    "edenai": speaks_openai("https://api.edenai.run/v3", "EDENAI_API_KEY"),
    "gmi": speaks_openai("https://api.gmi-serving.com/v1", "GMI_API_KEY"),
    "gradient_ai": speaks_openai("https://inference.do-ai.run/v1", "GRADIENT_AI_API_KEY"),
    "helicone": speaks_openai("https://ai-gateway.helicone.ai", "HELICONE_API_KEY"),
    "heroku": speaks_openai("", "HEROKU_API_KEY", base=("HEROKU_API_BASE",)),
    "lemonade": speaks_openai("http://localhost:8000/api/v1", "LEMONADE_API_KEY", base=("LEMONADE_API_BASE",), needs_key=False),
    "maritalk": speaks_openai("https://chat.maritaca.ai/api", "MARITALK_API_KEY"),
    "modelscope": speaks_openai("https://api-inference.modelscope.cn/v1", "MODELSCOPE_API_KEY"),
    "oobabooga": speaks_openai("", "OOBABOOGA_API_KEY", needs_key=False),
    "poe": speaks_openai("https://api.poe.com/v1", "POE_API_KEY"),
    "publicai": speaks_openai("https://api.publicai.co/v1", "PUBLICAI_API_KEY", base=("PUBLICAI_API_BASE",)),
    "qwencloud": speaks_openai(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", base=("DASHSCOPE_API_BASE",)
    ),
    "sarvam": speaks_openai("https://api.sarvam.ai/v1", "SARVAM_API_KEY"),
    "scaleway": speaks_openai("https://api.scaleway.ai/v1", "SCW_SECRET_KEY"),
    "tencent": speaks_openai("https://tokenhub-intl.tencentcloudmaas.com/v1", "TENCENT_API_KEY", base=("TENCENT_API_BASE",)),
    "text-completion-codestral": speaks_openai("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "text-completion-inception": speaks_openai("https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY"),
    "veniceai": speaks_openai("https://api.venice.ai/api/v1", "VENICE_AI_API_KEY"),
    "xiaomi_mimo": speaks_openai("https://api.xiaomimimo.com/v1", "XIAOMI_MIMO_API_KEY"),
    "zhipu": speaks_openai("https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY", "ZAI_API_KEY"),
    "bigmodel": speaks_openai("https://open.bigmodel.cn/api/paas/v4", "BIGMODEL_API_KEY", "ZHIPUAI_API_KEY"),
    "abliteration": speaks_openai("https://api.abliteration.ai/v1", "ABLITERATION_API_KEY"),
    "aiand": speaks_openai("https://api.aiand.com/v1", "AIAND_API_KEY", base=("AIAND_API_BASE",)),
    "aiohttp_openai": speaks_openai(
        "https://api.openai.com/v1", "OPENAI_API_KEY", base=("OPENAI_BASE_URL", "OPENAI_API_BASE")
    ),
    "amazon_nova": speaks_openai("https://api.nova.amazon.com/v1", "AMAZON_NOVA_API_KEY", base=("AMAZON_NOVA_API_BASE",)),
    "assemblyai": speaks_openai("https://llm-gateway.assemblyai.com/v1", "ASSEMBLYAI_API_KEY"),
    "bedrock_mantle": speaks_openai(
        "https://bedrock-mantle.{AWS_REGION_NAME}.api.aws/v1", "BEDROCK_MANTLE_API_KEY", "AWS_BEARER_TOKEN_BEDROCK",
        base=("BEDROCK_MANTLE_API_BASE",),
    ),
    "charity_engine": speaks_openai("https://api.charityengine.services/remotejobs/v2/inference", "CHARITY_ENGINE_API_KEY"),
    "clf_ai_gateway": speaks_openai(
        "https://api.clfaigateway.dev/v1", "CLF_AI_GATEWAY_API_KEY", base=("CLF_AI_GATEWAY_API_BASE",)
    ),
    "cognition": speaks_openai("https://api.cognition.ai/v1", "COGNITION_API_KEY", base=("COGNITION_API_BASE",)),
    "compactifai": speaks_openai("https://api.compactif.ai/v1", "COMPACTIFAI_API_KEY"),
    "coralbricks": speaks_openai(
        "https://inference.coralbricks.ai/v1", "CORALBRICKS_API_KEY", base=("CORALBRICKS_API_BASE",)
    ),
    "cortecs": speaks_openai("https://api.cortecs.ai/v1", "CORTECS_API_KEY", base=("CORTECS_API_BASE",)),
    "crusoe": speaks_openai("https://api.inference.crusoecloud.com/v1", "CRUSOE_API_KEY", base=("CRUSOE_API_BASE",)),
    "darkbloom": speaks_openai("https://api.darkbloom.dev/v1", "DARKBLOOM_API_KEY", base=("DARKBLOOM_API_BASE",)),
    "datarobot": speaks_openai("https://app.datarobot.com/api/v2/genai/llmgw", "DATAROBOT_API_TOKEN"),
    "empiriolabs": speaks_openai("https://api.empiriolabs.ai/v1", "EMPIRIOLABS_API_KEY", base=("EMPIRIOLABS_API_BASE",)),
    "hostinger_router": speaks_openai(
        "https://router.hostinger.com/v1", "HOSTINGER_ROUTER_API_KEY", base=("HOSTINGER_ROUTER_API_BASE",)
    ),
    "inferenceapis": speaks_openai(
        "https://api.inferenceapis.com/v1", "INFERENCEAPIS_API_KEY", base=("INFERENCEAPIS_API_BASE",)
    ),
    "kyma": speaks_openai("https://kymaapi.com/v1", "KYMA_API_KEY"),
    "libertai": speaks_openai("https://api.libertai.io/v1", "LIBERTAI_API_KEY", base=("LIBERTAI_API_BASE",)),
    "llamagate": speaks_openai("https://api.llamagate.dev/v1", "LLAMAGATE_API_KEY"),
    "meta": speaks_openai("https://api.meta.ai/v1", "META_API_KEY", base=("META_API_BASE",)),
    "nadir": speaks_openai("https://api.getnadir.com/v1", "NADIR_API_KEY", base=("NADIR_API_BASE",)),
    "neosantara": speaks_openai("https://api.neosantara.xyz/v1", "NEOSANTARA_API_KEY", base=("NEOSANTARA_API_BASE",)),
    "openinfer": speaks_openai("https://api.openinfer.ai/v1", "OPENINFER_API_KEY", base=("OPENINFER_API_BASE",)),
    "parasail": speaks_openai("https://api.parasail.io/v1", "PARASAIL_API_KEY", base=("PARASAIL_API_BASE",)),
    "pinstripes": speaks_openai("https://pinstripes.io/v1", "PINSTRIPES_API_KEY", base=("PINSTRIPES_API_BASE",)),
    "prism": speaks_openai("https://api.prisminference.com/v1", "PRISM_API_KEY", base=("PRISM_API_BASE",)),
    "qwen_ai_platform": speaks_openai(
        "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", base=("DASHSCOPE_API_BASE",)
    ),
    "refuseless": speaks_openai("https://api.refuseless.com/v1", "REFUSELESS_API_KEY"),
    "reka": speaks_openai("https://api.reka.ai/v1", "REKA_API_KEY", base=("REKA_API_BASE",)),
    "sail": speaks_openai("https://api.sailresearch.com/v1", "SAIL_API_KEY", base=("SAIL_API_BASE",)),
    "scx-ai": speaks_openai("https://api.scx.ai/v1", "SCX_API_KEY", base=("SCX_API_BASE",)),
    "streamlake": speaks_openai(
        "https://vanchin.streamlake.ai/api/gateway/v1/endpoints", "STREAMLAKE_API_KEY", base=("STREAMLAKE_API_BASE",)
    ),
    "tensormesh": speaks_openai(
        "https://serverless.tensormesh.ai/v1", "TENSORMESH_INFERENCE_API_KEY", base=("TENSORMESH_SERVERLESS_BASE_URL",)
    ),
    "zerogpu": speaks_openai("https://api.zerogpu.ai/v1", "ZEROGPU_API_KEY", base=("ZEROGPU_API_BASE",)),
}  # fmt: skip
