"""A class written for LiteLLM (`CustomLogger`) is told of a call by its own methods, with what
LiteLLM gives them, as far as the book has it.

    async_log_success_event(kwargs, response_obj, start_time, end_time)        async_log_failure_event(...)

`kwargs["standard_logging_object"]` is the payload that `generic_api` gets; messages and the answer
are there where sinks get prompts.
"""  # noqa: W505

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.said import Said


def teller(made: Any) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
    """Takes a payload, as `record` does. Raises AttributeError for an object that has none of the
    methods.
    """
    success, failure = (
        getattr(made, f"async_log_{what}_event", None) or getattr(made, f"log_{what}_event", None)
        for what in ("success", "failure")
    )
    if success is None and failure is None:
        raise AttributeError("async_log_success_event")

    async def tell(payload: Mapping[str, Any]) -> None:
        method = success if payload["status"] == "success" else failure
        if method is None:
            return
        start, end = (datetime.fromtimestamp(payload[name], UTC) for name in ("startTime", "endTime"))
        told = method(kwargs(payload), response(payload), start, end)
        if inspect.isawaitable(told):
            await told

    return tell


def kwargs(payload: Mapping[str, Any]) -> dict[str, Any]:
    """LiteLLM's `kwargs`."""
    metadata = dict(payload["metadata"])
    return {
        "model": payload["model"],
        "messages": payload["messages"],
        "user": payload["end_user"],
        "stream": payload["stream"],
        "call_type": payload["call_type"],
        "litellm_call_id": payload["litellm_call_id"],
        "custom_llm_provider": payload["custom_llm_provider"],
        "response_cost": payload["response_cost"],
        "optional_params": {},
        "litellm_params": {
            "metadata": {**metadata, "model_group": payload["model_group"]},
            "model_info": {"id": payload["model_id"]},
        },
        "exception": payload["error_str"],
        "standard_logging_object": dict(payload),
    }


def response(payload: Mapping[str, Any]) -> Said | None:
    """The answer; without its content where sinks get none. None for a call that failed."""
    if payload["status"] != "success":
        return None
    answer = payload["response"]
    told = dict(answer) if isinstance(answer, Mapping) else {}
    usage = {name: payload[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return Said({"id": payload["response_id"], "model": payload["model"], **told, "usage": Said(usage)})
