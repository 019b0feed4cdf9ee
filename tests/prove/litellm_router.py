"""Run by the Python of an environment with litellm in it: its Router on our traces, in real time.
Prints what became of the calls, as JSON.
"""

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "edge" / "routing"))

import litellm  # type: ignore[import-not-found]
from places import SCENARIOS, World, arrivals  # type: ignore[import-not-found]

for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
FAILURES = {
    "connect": lambda: litellm.APIConnectionError(message="refused", llm_provider="openai", model="m"),
    "failed": lambda: litellm.InternalServerError(message="500", llm_provider="openai", model="m"),
    "limited": lambda: litellm.RateLimitError(message="429", llm_provider="openai", model="m"),
}


async def one(scenario: str, strategy: str, seed: int) -> dict[str, object]:
    world, began = World(SCENARIOS[scenario], seed), time.monotonic()

    async def completion(**fields: object) -> object:
        name = str(fields["model"]).removeprefix("openai/")
        outcome = world.attempt(name, time.monotonic() - began)
        await asyncio.sleep(outcome.latency_s)
        if not outcome.ok:
            raise FAILURES[outcome.cause]()
        return litellm.ModelResponse(model=name, usage=litellm.Usage(prompt_tokens=50, completion_tokens=50))

    litellm.acompletion = completion
    router = litellm.Router(
        model_list=[
            {
                "model_name": "m",
                "litellm_params": {"model": f"openai/{name}", "api_key": "k", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
                "model_info": {"id": name},
            }
            for name in world.places
        ],
        routing_strategy=strategy, num_retries=2, cooldown_time=5, allowed_fails=3, retry_after=0,
    )  # fmt: skip
    calls: list[tuple[bool, float]] = []

    async def call(at: float) -> None:
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        start = time.monotonic()
        try:
            await router.acompletion(model="m", messages=[{"role": "user", "content": "hi"}])
            calls.append((True, time.monotonic() - start))
        except Exception:
            calls.append((False, time.monotonic() - start))

    began = time.monotonic()
    await asyncio.gather(*map(call, arrivals()))
    good = sorted(latency for ok, latency in calls if ok)
    return {
        "scenario": scenario, "strategy": strategy, "good": len(good) / len(calls), "p95_s": good[int(len(good) * 0.95)] if good else 1e9,
        "attempts": len(world.attempts), "calls": len(calls),
    }  # fmt: skip


async def main() -> None:
    wanted = json.load(sys.stdin)
    found = [await one(scenario, strategy, seed) for scenario, strategy, seed in wanted]
    print(json.dumps(found))


asyncio.run(main())
