"""Run by the Python of an environment with litellm in it: what LiteLLM says that calls cost, read
from standard input, in USD.
"""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # type: ignore[import-not-found]
from litellm.types import utils  # type: ignore[import-not-found]


def main() -> None:
    found = []
    for case in json.load(sys.stdin):
        use = case["usage"]
        details = {"cached_tokens": use["cached_tokens"], "audio_tokens": use["audio_input_tokens"] or None}
        hour, written = use["cache_write_1h_tokens"], use["cache_write_tokens"]
        if written:
            lived = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
            details |= {
                "cache_creation_tokens": written,
                "cache_creation_token_details": utils.CacheCreationTokenDetails(**lived),
            }
        usage = utils.Usage(
            prompt_tokens=use["input_tokens"],
            completion_tokens=use["output_tokens"],
            total_tokens=use["input_tokens"] + use["output_tokens"],
            prompt_tokens_details=utils.PromptTokensDetailsWrapper(**details),
            completion_tokens_details=utils.CompletionTokensDetailsWrapper(reasoning_tokens=use["reasoning_tokens"]),
            cache_creation_input_tokens=written,
            cache_read_input_tokens=use["cached_tokens"],
        )
        more = {"service_tier": use["service"]} if use["service"] else {}
        provider, model = case["provider"], case["model"]
        found.append(
            litellm.completion_cost(
                utils.ModelResponse(model=model, usage=usage),
                model=f"{provider}/{model}",
                custom_llm_provider=provider,
                call_type="embedding" if "embed" in model else "completion",
                **more,
            )
        )
    json.dump(found, sys.stdout)


main()
