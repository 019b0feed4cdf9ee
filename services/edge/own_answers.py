"""Python of the operator's own that changes an answer in one piece, or refuses it: LiteLLM's
`async_post_call_success_hook`, asked before the guardrails of the answer look at it.

It gets the answer as an object whose fields may be read and written; what it returns, or changes in
place, is what the client gets. What was billed stays what the provider said.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from services.edge.own_thread import NoAnswerError, OwnThread
from shared import errors
from shared.config import hooks
from shared.errors import Refusal
from shared.said import deep
from shared.stand_ins import UserAPIKeyAuth

log = structlog.get_logger()

(METHOD,) = hooks.AFTER


class OwnAnswers:
    """
    Args:
        found: the operator's objects that have the method, by their names.
        refusal: of what one of them raises, with its name.
    """

    def __init__(
        self,
        found: Sequence[tuple[str, Any]],
        thread: OwnThread,
        timeout_s: float,
        refusal: Callable[[str, Exception], Refusal],
    ) -> None:
        self._found = found
        self._thread = thread
        self._timeout_s = timeout_s
        self._refusal = refusal

    async def change(self, body: bytes, data: dict[str, Any], who: UserAPIKeyAuth) -> bytes | Refusal:
        """The answer that goes on, or why none does.

        Args:
            data: the request, as the hooks before the call left it.
        """
        try:
            before = said = json.loads(body)
        except (ValueError, RecursionError):
            return body  # not JSON: nothing that a hook could look at
        if not isinstance(said, dict):
            return body
        for name, hook in self._found:
            try:
                said = await self._thread.ask(self._timeout_s, _asked, getattr(hook, METHOD), data, who, said)
            except NoAnswerError as error:
                log.warning("hook_no_answer", name=name, why=str(error))
                return errors.own_hook_unavailable()
            except Exception as error:
                return self._refusal(name, error)
        try:
            return body if said == before else msgspec.json.encode(said)
        except (TypeError, ValueError, RecursionError) as error:
            log.warning("hook_returned_no_json", why=type(error).__name__)
            return errors.own_hook_unavailable()


async def _asked(hook: Any, data: dict[str, Any], who: UserAPIKeyAuth, said: Mapping[str, Any]) -> Mapping[str, Any]:
    """In the hooks' thread."""
    answer = deep(said)
    found = await hook(data=data, user_api_key_dict=who, response=answer)
    if found is None:
        return dict(answer)
    dumped = found.model_dump() if hasattr(found, "model_dump") else found
    if not isinstance(dumped, Mapping):
        raise TypeError("an answer is a mapping")
    return dict(dumped)
