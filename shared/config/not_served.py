"""Whom LiteLLM names and nobody is served by here, each with the reason: an entry that names one is
left out with it, and isn't sent to somebody else.
"""

from collections.abc import Mapping

from shared.config.provider import Provider, not_served

SPEECH = "speech and transcription in a format of its own"
_PICTURES = "pictures and films in a format of its own"
_STORE = "it keeps vectors and answers no calls"
_AGENT = "an agent of a protocol of its own, no model"
_PROMPTS = "prompts kept elsewhere, no model: prompts are the caller's"
_ROUTER = "it chooses a model by the prompt: a caller names the model here"
OWN = "a format of its own that isn't spoken here"
_READS = "it reads documents in a format of its own"

_REASONS = {
    "a2a": _AGENT, "a2a_agent": _AGENT, "cursor": _AGENT, "databricks_agent": _AGENT, "langflow": _AGENT, "langgraph": _AGENT,
    "litellm_agent": _AGENT, "manus": _AGENT, "microsoft_365_copilot": _AGENT, "strands_decider": _AGENT,
    "ragflow": "an address for each of its chats, in a format of its own",
    "auto_router": _ROUTER, "bespoke": _ROUTER, "eu_jev": _ROUTER, "laya": _ROUTER, "nace": _ROUTER, "typesafe": _ROUTER,
    "aws_polly": SPEECH, "azure_speech": SPEECH, "nvidia_riva": SPEECH, "soniox": SPEECH, "transcribe": SPEECH,
    "black_forest_labs": _PICTURES, "fal_ai": _PICTURES, "recraft": _PICTURES, "runwayml": _PICTURES, "stability": _PICTURES,
    "topaz": _PICTURES,
    "milvus": _STORE, "mongodb": _STORE, "opensearch": _STORE, "pg_vector": _STORE, "s3_vectors": _STORE, "valkey": _STORE,
    "dotprompt": _PROMPTS, "humanloop": _PROMPTS, "langfuse": _PROMPTS,
    "aws_textract": _READS, "reducto": _READS,
    "anthropic_text": "Anthropic's completions are no more; name the model anthropic/...",
    "bytez": OWN, "gdc": "its tokens are made for each address by Google's own library", "sap": "its orchestration asks in a format of its own",
    "scaledown": "it shortens prompts in a format of its own", "sagemaker_nova": OWN,
    "opencode_go": "an address for each family of its models: name it openai/... or anthropic/... with that api_base",
}  # fmt: skip

NOT_SERVED: Mapping[str, Provider] = {name: not_served(why) for name, why in _REASONS.items()}
