"""Python of the operator's own that changes a call, or refuses it, before anything looks at its
texts: LiteLLM's `async_pre_call_hook` and `async_moderation_hook` of a callback that the
configuration names; and one that changes an answer (own_answers.py).

Each is asked in the order of the configuration, with the body as a mapping; what it returns, or
changes in place, goes on. A string it returns, and what it raises, refuses the call. What can't be
asked, or doesn't answer in time, lets nothing through: it may be what hides a secret.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from services.edge import own_answers
from services.edge.content import names
from services.edge.formats import joined
from services.edge.formats.base import Call
from services.edge.formats.wire import decode_leniently
from services.edge.http import Request
from services.edge.own_answers import OwnAnswers
from services.edge.own_thread import MESSAGE_CHARACTERS_MAX, NoAnswerError, OwnThread, status_of
from shared import credential, errors, own_code
from shared.config import Config, ConfigError, hooks
from shared.decoding import UNREADABLE
from shared.errors import Refusal
from shared.facts import Caller
from shared.routes import Route
from shared.stand_ins import DualCache, UserAPIKeyAuth

log = structlog.get_logger()

TIMEOUT_S = 30.0
"""Of all hooks of one call, each."""
CALL_TYPES = {
    "acompletion": "completion", "atext_completion": "text_completion", "aembedding": "embeddings", "amoderation": "moderation",
    "aimage_generation": "image_generation", "aresponses": "responses",
}  # fmt: skip
"""A route's call type -> what LiteLLM's hooks are told."""
_REQUEST = "proxy_server_request"
"""What a hook finds of the request beside the body's own fields."""
_METADATA = "metadata"


class OwnHooks:
    """
    Args:
        found: the operator's objects by the names they have in the configuration.
    """

    def __init__(self, found: Sequence[tuple[str, Any]], thread: OwnThread, timeout_s: float = TIMEOUT_S) -> None:
        self._thread = thread
        self._timeout_s = timeout_s
        self._memory = DualCache()
        self._before = [(name, each) for name, each in found if any(hasattr(each, method) for method in hooks.BEFORE)]
        after = [(name, each) for name, each in found if hasattr(each, own_answers.METHOD)]
        self._answers = OwnAnswers(after, thread, timeout_s, _refusal) if after else None

    @property
    def change_answers(self) -> bool:
        return self._answers is not None

    async def answered(
        self, body: bytes, call: Call, route: Route, caller: Caller, request: Request
    ) -> tuple[bytes, Refusal | None]:
        """An answer in one piece, as it goes on; or why it doesn't."""
        if self._answers is None:
            return body, None
        try:
            data, shown = (_read(joined.join(call.fields)) for _ in range(2))
        except UNREADABLE:  # a form
            data, shown = {"model": call.model}, {}
        data = {"model": call.model, **data, _METADATA: data.get(_METADATA) or {}, _REQUEST: _seen(request, shown)}
        found = await self._answers.change(body, data, _who(caller, route, call))
        return (body, found) if isinstance(found, Refusal) else (found, None)

    async def change(self, call: Call, route: Route, caller: Caller, request: Request) -> bytes | Refusal | None:
        """The body that goes on; None: the call's own; or why it doesn't."""
        if not self._before:
            return None
        body = joined.join(call.fields)  # its own bytes may be read in two ways, and with a BOM in none
        try:
            said, data, shown = (_read(body) for _ in range(3))
        except UNREADABLE:
            return errors.bad_request("The request body is nested too deeply, or can't be read")
        data = {**data, _METADATA: data.get(_METADATA) or {}, _REQUEST: _seen(request, shown)}
        who, call_type = _who(caller, route, call), CALL_TYPES.get(route.call_type, route.call_type)
        for name, hook in self._before:
            try:
                data = await self._one(hook, data, who, call_type)
            except NoAnswerError as error:
                log.warning("hook_no_answer", name=name, why=str(error))
                return errors.own_hook_unavailable()
            except RejectedError as no:
                return errors.own_hook_refused(str(no), 400)
            except Exception as error:
                return _refusal(name, error)
        data.pop(_REQUEST, None)
        if not data.get(_METADATA) and not said.get(_METADATA):
            data.pop(_METADATA, None)
            data |= {name: value for name, value in said.items() if name == _METADATA}
        try:
            if data == said and names.count_strings(body) == names.count_strings(msgspec.json.encode(said)):
                return None
            return msgspec.json.encode(data)  # also where a name stood twice: what a hook saw is what is sent
        except (TypeError, ValueError, RecursionError) as error:
            log.warning("hook_returned_no_json", why=type(error).__name__)
            return errors.own_hook_unavailable()

    async def _one(self, hook: Any, data: dict[str, Any], who: UserAPIKeyAuth, call_type: str) -> dict[str, Any]:
        """Raises RejectedError, NoAnswerError, and whatever the hook raises."""
        before, beside = (getattr(hook, name, None) for name in hooks.BEFORE)
        if before is not None:
            found = await self._thread.ask(
                self._timeout_s, before, user_api_key_dict=who, cache=self._memory, data=data, call_type=call_type
            )
            if isinstance(found, Exception):
                raise found
            if isinstance(found, str):
                raise RejectedError(found)
            if isinstance(found, Mapping):
                data = dict(found)
        if beside is not None:
            await self._thread.ask(self._timeout_s, _on_a_copy, beside, data, who, call_type)
        return data


def _on_a_copy(hook: Any, data: dict[str, Any], who: UserAPIKeyAuth, call_type: str) -> Any:
    """In the hooks' thread: copying a large body takes long."""
    return hook(data=copy.deepcopy(data), user_api_key_dict=who, call_type=call_type)


def _read(body: bytes) -> dict[str, Any]:
    """Raises UNREADABLE."""
    try:
        found: dict[str, Any] = msgspec.json.decode(body)
    except UNREADABLE:
        found = decode_leniently(body)
    return found


class RejectedError(Exception):
    """A hook returned a string: what the caller is told."""


def _seen(request: Request, said: Any) -> dict[str, Any]:
    """LiteLLM's `proxy_server_request`; the credential isn't a hook's to see."""
    headers = {name: value for name, value in request.headers().items() if name not in _CREDENTIALS}
    return {"url": request.raw_path, "method": request.method, "headers": headers, "body": said}


_CREDENTIALS = frozenset((*credential.HEADERS, "cookie"))


def _who(caller: Caller, route: Route, call: Call) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(
        api_key=caller.key_sha256,
        token=caller.key_sha256,
        key_alias=caller.key_alias,
        user_id=caller.user_id,
        user_role=caller.role,
        team_id=caller.team_id,
        team_alias=caller.team_alias,
        org_id=caller.organization_id,
        end_user_id=call.customer_id,
        request_route=route.name,
        metadata={},
        team_metadata={},
    )


def _refusal(name: str, raised: Exception) -> Refusal:
    """With the status and the words that the exception has for the client; the text of any other
    stays here: it may hold anything.
    """
    said = getattr(raised, "detail", None) or getattr(raised, "message", None)
    if isinstance(said, Mapping):
        said = said.get("error")
    number = status_of(raised)
    log.info("hook_refused", name=name, raised=type(raised).__name__)
    if not 400 <= number < 500:
        return errors.own_hook_unavailable()
    return errors.own_hook_refused(said[:MESSAGE_CHARACTERS_MAX] if isinstance(said, str) else "", number)


def load(config: Config, thread: OwnThread) -> OwnHooks | None:
    """None: there are none. Raises ConfigError where one can't be had: it may protect."""
    found = []
    for name in hooks.named(config.litellm.callbacks):
        if hooks.why_not(name, config.directory) or not hooks.changes(name, config.directory):
            continue
        try:
            made = own_code.load(config.directory, name)
            found.append((name, made() if isinstance(made, type) else made))
        except Exception as error:
            what = str(error) if isinstance(error, own_code.OwnCodeError) else type(error).__name__
            raise ConfigError(f"litellm_settings.callbacks: {name}: {what}") from None
    if not found:
        return None
    log.info("hooks_loaded", names=[name for name, _ in found])
    return OwnHooks(found, thread)
