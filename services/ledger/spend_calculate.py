"""`/spend/calculate` and `/cost/estimate`: what a call would cost, by the price list.

Tokens of messages are counted by moderation, which has the tokenizers.
"""

from typing import Any

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.params import refuse
from services.ledger.price_list import PriceList
from shared import bus, errors, subjects
from shared.billing import Usage, cost
from shared.bus import BusClient, BusError
from shared.errors import RefusedError
from shared.money import usd_from_picousd
from shared.requests import CountReply, CountRequest

COUNT_TIMEOUT_MS = 10_000
TOKENS_A_MESSAGE = 3
TOKENS_OF_THE_ANSWERS_HEAD = 3
"""OpenAI's framing of a chat: each message's, and the answer's beginning."""
TOKENS_MAX = 10**10


def handlers(api: Api) -> dict[str, Handler]:
    async def calculate(request: web.Request) -> web.StreamResponse:
        await api.identify(request, "/spend/calculate")
        body = await answers.json_body(request)
        answer = body.get("completion_response")
        if isinstance(answer, dict):
            model, usage = _of_answer(answer)
        elif isinstance(body.get("model"), str) and body["model"]:
            model = params.checked_text("model", body["model"])
            if not isinstance(body.get("messages"), list) or not body["messages"]:
                _bad("Bad Request - messages must be provided if 'model' is provided")
            usage = Usage(await _count(api.client, model, body["messages"]), source="estimated")
        else:
            _bad("Bad Request - Either 'model' or 'completion_response' must be provided")
        return answers.json_answer({"cost": usd_from_picousd(_cost(api.prices, model, usage))})

    async def estimate(request: web.Request) -> web.StreamResponse:
        await api.identify(request, "/cost/estimate")
        body = await answers.json_body(request)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            refuse("model", "is needed")
        model = params.checked_text("model", model)
        tokens = [_whole(body, name, 0) for name in ("input_tokens", "output_tokens")]
        halves = [_cost(api.prices, model, Usage(tokens[0])), _cost(api.prices, model, Usage(0, tokens[1]))]
        each = _cost(api.prices, model, Usage(*tokens))
        found: dict[str, Any] = {
            "model": model, "input_tokens": tokens[0], "output_tokens": tokens[1], "cost_per_request": usd_from_picousd(each),
            "input_cost_per_request": usd_from_picousd(halves[0]), "output_cost_per_request": usd_from_picousd(halves[1]),
        }  # fmt: skip
        for period in ("day", "month"):
            count = _whole(body, f"num_requests_per_{period}", None)
            name = {"day": "daily", "month": "monthly"}[period]
            found[f"num_requests_per_{period}"] = count
            found[f"{name}_cost"] = None if count is None else usd_from_picousd(each * count)
        return answers.json_answer(found)

    return {"/spend/calculate": calculate, "/cost/estimate": estimate}


def _cost(prices: PriceList, model: str, usage: Usage) -> int:
    price = prices.of(model)
    found = cost(price, usage) if price is not None else None
    if found is None or found.picousd is None:
        raise RefusedError(
            errors.bad_request(f"This model isn't mapped yet: nobody knows what {model[:200]!r} costs", "model")
        )
    return found.picousd


async def _count(client: BusClient, model: str, messages: list[Any]) -> int:
    texts: list[str] = []
    framing = TOKENS_OF_THE_ANSWERS_HEAD
    for message in messages:
        if not isinstance(message, dict):
            refuse("messages", "must be objects with role and content")
        framing += TOKENS_A_MESSAGE
        for name in ("role", "content", "name"):
            value = message.get(name)
            parts = value if isinstance(value, list) else [value]
            texts += [
                part if isinstance(part, str) else part.get("text", "")
                for part in parts
                if isinstance(part, str | dict)
            ]
    if not all(isinstance(text, str) for text in texts):
        refuse("messages", "must hold text")
    try:
        reply = await bus.ask(
            client, subjects.MODERATION_COUNT, CountRequest(model, texts), CountReply, COUNT_TIMEOUT_MS, tries=2
        )
    except BusError:
        raise RefusedError(errors.bad_request("The tokens could not be counted now")) from None
    return framing + sum(reply.tokens)


def _of_answer(answer: dict[str, Any]) -> tuple[str, Usage]:
    """Model and usage of an answer in OpenAI's shape."""
    model, usage = answer.get("model"), answer.get("usage")
    if not isinstance(model, str) or not isinstance(usage, dict):
        refuse("completion_response", "must have model and usage")

    def tokens(found: Any, *names: str) -> int:
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            return 0
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= TOKENS_MAX:
            refuse("completion_response", f"usage.{'.'.join(names)} must be a whole number of tokens")
        return int(found)

    details = "prompt_tokens_details"
    return params.checked_text("completion_response.model", model), Usage(
        tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens"), tokens(usage, details, "cached_tokens"),
        tokens(usage, "cache_creation_input_tokens"), tokens(usage, "completion_tokens_details", "reasoning_tokens"), "provider",
        audio_input_tokens=tokens(usage, details, "audio_tokens"),
        audio_output_tokens=tokens(usage, "completion_tokens_details", "audio_tokens"),
    )  # fmt: skip


def _whole(body: dict[str, Any], name: str, default: int | None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOKENS_MAX:
        refuse(name, f"must be a whole number from 0 to {TOKENS_MAX}")
    return value


def _bad(message: str) -> Any:
    raise RefusedError(errors.spend_calculate(message))
