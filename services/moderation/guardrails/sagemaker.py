"""Asking a model's endpoint on Amazon SageMaker. Credentials and region as LiteLLM reads them: `AWS_REGION_NAME` and AWS's own."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from services.moderation.guardrails.remote import Circuit, NoAnswerError
from shared.config import ConfigError
from shared.guardrails import Enabled

ANSWER_TOKENS_MAX = 64
ANSWER_BYTES_MAX = 1024 * 1024


class SageMaker:
    def __init__(self, endpoint: str, environ: Mapping[str, str], enabled: Enabled) -> None:
        """Raises ConfigError without a region."""
        self._endpoint = endpoint
        self._region = environ.get("AWS_REGION_NAME") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        if not self._region:
            raise ConfigError(f"the guardrail {enabled.name!r} needs AWS_REGION_NAME")
        self._url = environ.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or environ.get("AWS_ENDPOINT_URL") or None
        self._keys = {
            "aws_access_key_id": environ.get("AWS_ACCESS_KEY_ID") or None,
            "aws_secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY") or None,
            "aws_session_token": environ.get("AWS_SESSION_TOKEN") or None,
        }
        self._deadline_ms = enabled.deadline_ms
        self._library = _library()
        self._lock = asyncio.Lock()
        self._client: Any = None
        self.circuit = Circuit()

    async def ask(self, prompt: str, _: list[dict[str, str]]) -> str:
        """What the model generated. Raises NoAnswerError."""
        question = {
            "inputs": prompt,
            "parameters": {"max_new_tokens": ANSWER_TOKENS_MAX, "do_sample": False, "return_full_text": False},
        }
        with self.circuit.question():
            try:
                client = await self._opened()
                answer = await client.invoke_endpoint(
                    EndpointName=self._endpoint, ContentType="application/json", Body=json.dumps(question).encode()
                )
                body = await answer["Body"].read(ANSWER_BYTES_MAX)
                return _generated(json.loads(body), prompt)
            except NoAnswerError:
                raise
            except Exception as error:  # botocore's many; their texts may quote the request
                raise NoAnswerError(type(error).__name__) from None

    async def _opened(self) -> Any:
        """One client, made by the first question."""
        async with self._lock:
            if self._client is None:
                session, config = self._library
                opening = session.create_client(
                    "sagemaker-runtime",
                    region_name=self._region,
                    endpoint_url=self._url,
                    config=config(
                        connect_timeout=5, read_timeout=self._deadline_ms / 1000, retries={"max_attempts": 1}
                    ),
                    **self._keys,
                )
                self._client = await opening.__aenter__()
            return self._client


def _library() -> tuple[Any, Any]:
    """Imported where it is used only, and before somebody waits: it takes a second."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415
    from aiobotocore.session import get_session  # noqa: PLC0415

    return get_session(), AioConfig


def _generated(answer: Any, prompt: str) -> str:
    """`[{"generated_text": ...}]`, or one of these; some containers repeat the prompt before it."""
    first = answer[0] if isinstance(answer, list) and answer else answer
    text = first.get("generated_text") if isinstance(first, dict) else None
    if isinstance(first, dict) and isinstance(first.get("generation"), str):
        text = first["generation"]
    if not isinstance(text, str):
        raise NoAnswerError("not a completion")
    return text.removeprefix(prompt)
