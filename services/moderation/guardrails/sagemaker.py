"""Asking a model's endpoint on Amazon SageMaker."""

import json
from typing import Any

from services.moderation.guardrails.aws import Aws
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError
from shared.guardrails import Enabled

ANSWER_TOKENS_MAX = 64
ANSWER_BYTES_MAX = 1024 * 1024


class SageMaker:
    def __init__(self, endpoint: str, parts: Parts, enabled: Enabled) -> None:
        """Raises ConfigError without a region."""
        self._endpoint = endpoint
        self._aws = Aws(parts, enabled, "sagemaker-runtime")

    async def ask(self, prompt: str, _: list[dict[str, str]]) -> str:
        """What the model generated. Raises NoAnswerError."""
        question = {
            "inputs": prompt,
            "parameters": {"max_new_tokens": ANSWER_TOKENS_MAX, "do_sample": False, "return_full_text": False},
        }
        async with self._aws.question() as client:
            answer = await client.invoke_endpoint(
                EndpointName=self._endpoint, ContentType="application/json", Body=json.dumps(question).encode()
            )
            body = await answer["Body"].read(ANSWER_BYTES_MAX)
            return _generated(json.loads(body), prompt)


def _generated(answer: Any, prompt: str) -> str:
    """`[{"generated_text": ...}]`, or one of these; some containers repeat the prompt before it."""
    first = answer[0] if isinstance(answer, list) and answer else answer
    text = first.get("generated_text") if isinstance(first, dict) else None
    if isinstance(first, dict) and isinstance(first.get("generation"), str):
        text = first["generation"]
    if not isinstance(text, str):
        raise NoAnswerError("not a completion")
    return text.removeprefix(prompt)
