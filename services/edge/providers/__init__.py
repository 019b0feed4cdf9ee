"""Where calls go: each deployment of the configuration, made ready once, so that a request adds only its body."""

from collections.abc import Iterable, Iterator

import msgspec

from services.edge.upstream import Deadlines, Origin, render_headers
from shared.config import ConfigError, Deployment
from shared.ids import DeploymentId
from shared.routes import Route

MOCK_INPUT_TOKENS = 10
MOCK_OUTPUT_TOKENS = 20
"""What LiteLLM's mock answers claim."""


class Target(msgspec.Struct, frozen=True):
    """A deployment, ready to be called."""

    deployment: Deployment
    origin: Origin | None
    """None: it answers by itself (mock_response)."""
    base_path: str
    headers: bytes
    """All headers a provider gets, rendered once. None of them is the caller's."""
    deadlines: Deadlines

    def path(self, route: Route) -> str:
        return self.base_path + route.upstream_path


def build(deployments: Iterable[Deployment], user_agent: str) -> dict[DeploymentId, Target]:
    """Raises ConfigError naming the model whose api_base is no URL we call."""
    return {deployment.id: _target(deployment, user_agent) for deployment in deployments}


def _target(deployment: Deployment, user_agent: str) -> Target:
    headers = {"content-type": "application/json", "accept": "*/*", "user-agent": user_agent}
    if deployment.api_key is not None:
        headers["authorization"] = f"Bearer {deployment.api_key.reveal()}"
    if deployment.organization:
        headers["openai-organization"] = deployment.organization
    headers.update((name.lower(), value) for name, value in deployment.extra_headers.items())
    headers["accept-encoding"] = "identity"  # a stream is read while it passes
    try:
        rendered = render_headers(headers.items())
    except ValueError as error:
        raise ConfigError(f"model {deployment.model_name!r}: a header can't be sent: {error}") from None
    deadlines = Deadlines(
        connect_ms=min(5_000, deployment.timeout_ms),
        first_byte_ms=deployment.timeout_ms,
        idle_ms=min(300_000, deployment.timeout_ms),
        total_ms=deployment.timeout_ms,
    )
    if deployment.mock_response is not None:
        return Target(deployment, None, "", rendered, deadlines)
    try:
        origin, base_path = Origin.parse(deployment.api_base)
    except ValueError as error:
        raise ConfigError(f"model {deployment.model_name!r}: api_base: {error}") from None
    return Target(deployment, origin, base_path, rendered, deadlines)


def mock_answer(deployment: Deployment, route: Route, response_id: str, now_s: int) -> bytes:
    """The answer of a deployment with `mock_response`, in the route's shape."""
    text = deployment.mock_response
    usage = {
        "prompt_tokens": MOCK_INPUT_TOKENS,
        "completion_tokens": MOCK_OUTPUT_TOKENS,
        "total_tokens": MOCK_INPUT_TOKENS + MOCK_OUTPUT_TOKENS,
    }
    model = deployment.upstream_model
    if route.name == "/embeddings":
        data = [{"object": "embedding", "index": 0, "embedding": [0.0] * 8}]
        prompt_only = {"prompt_tokens": MOCK_INPUT_TOKENS, "total_tokens": MOCK_INPUT_TOKENS}
        return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": prompt_only})
    if route.name == "/completions":
        choice: dict[str, object] = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        kind = "text_completion"
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        kind = "chat.completion"
    return msgspec.json.encode(
        {"id": response_id, "object": kind, "created": now_s, "model": model, "choices": [choice], "usage": usage}
    )


def mock_stream(deployment: Deployment, route: Route, response_id: str, now_s: int) -> Iterator[bytes]:
    """The same as a stream: one event a word, the usage, `[DONE]`."""
    chat = route.name != "/completions"
    head = {
        "id": response_id,
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": now_s,
        "model": deployment.upstream_model,
    }

    def event(body: dict[str, object]) -> bytes:
        return b"data: " + msgspec.json.encode({**head, **body}) + b"\n\n"

    def choice(text: str | None, finish: str | None) -> dict[str, object]:
        if not chat:
            return {"choices": [{"index": 0, "text": text or "", "finish_reason": finish}]}
        delta = {"content": text} if text is not None else {}
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    for word in (deployment.mock_response or "").split(" "):
        yield event(choice(word + " ", None))
    yield event(choice(None, "stop"))
    usage = {
        "prompt_tokens": MOCK_INPUT_TOKENS,
        "completion_tokens": MOCK_OUTPUT_TOKENS,
        "total_tokens": MOCK_INPUT_TOKENS + MOCK_OUTPUT_TOKENS,
    }
    yield event({"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"
