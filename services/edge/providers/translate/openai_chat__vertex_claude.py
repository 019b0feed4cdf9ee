"""OpenAI's chat in front, Claude on Vertex AI behind: Anthropic's Messages, but for where the model
is named.
"""

from collections.abc import Mapping

import msgspec

from services.edge.providers.base import ErrorSaid, Options
from services.edge.providers.translate import gemini_answer, openai_chat__anthropic
from services.edge.providers.translate.anthropic_answer import Stream, answer
from services.edge.providers.translate.anthropic_answer import error as anthropic_error
from services.edge.providers.translate.wire import encode

__all__ = ["Stream", "answer", "error", "request"]

VERSION = "vertex-2023-10-16"


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    return encode({"anthropic_version": VERSION, **openai_chat__anthropic.body(fields, model, options)})


def error(body: bytes, status: int) -> ErrorSaid | None:
    """Claude's, or Google's of its own."""
    return anthropic_error(body, status) or gemini_answer.error(body, status)
