"""`custom_auth`: the operator's own function is asked whose request this is, as LiteLLM asks it,
and its word is final.

    async def user_api_key_auth(request, api_key) -> UserAPIKeyAuth | str

It is asked for every request, by its head, before a byte of the body is read: the body isn't there
for it. It runs in a thread of its own, with a loop of its own: what blocks there, or never returns,
keeps nobody but callers whose answer is then 503. Whatever it raises lets nobody in. A string is a
credential to go on with.
"""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import structlog

from services.edge.http import Request
from services.edge.own_thread import MESSAGE_CHARACTERS_MAX, NoAnswerError, OwnThread, status_of
from services.edge.reading import Head
from shared import credential, errors, own_code
from shared.config import Config, own_auth
from shared.config.schema.custom_auth import TIMEOUT_S
from shared.errors import RefusedError
from shared.identity import own
from shared.settings import SettingsError

log = structlog.get_logger()

Function = Callable[..., Any]


class OwnAuth:
    """
    Args:
        falls_through: what the function refuses is a virtual key or a token, perhaps.
        timeout_s: how long it may take.
    """

    def __init__(self, function: Function, *, falls_through: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        self._function = function
        self._falls_through = falls_through
        self._timeout_s = timeout_s
        self._told: set[str] = set()
        """What isn't acted on, and was said once."""
        self._thread = OwnThread("custom_auth")

    async def identify(self, head: Head, request: Request) -> bytes | None:
        """Who it is, as policy is told (shared.identity.own); None: the head's credential is to be
        looked at as it is. The head speaks of whom the function said. Raises RefusedError."""
        sent = credential.find(request.header) or ""
        try:
            returned = await self._thread.ask(self._timeout_s, self._function, request=Seen(request), api_key=sent)
            if isinstance(returned, str) and returned:
                self._take(head, returned)
                return None
            identity, idle = own.read(returned, sent)
        except RefusedError:
            raise
        except NoAnswerError as error:
            log.warning("custom_auth_no_answer", why=str(error))
            raise RefusedError(errors.own_auth_unavailable()) from None
        except own.NoIdentityError as error:
            self._no("custom_auth_returned_nobody", str(error))
            return None
        except Exception as error:
            self._no("custom_auth_refused", type(error).__name__, error)
            return None
        if new := set(idle) - self._told:
            self._told |= new
            log.warning("custom_auth_not_acted_on", fields=sorted(new))
        told = own.encoded(identity)
        head.digest, head.shape, head.token = own.digest(told), own.SHAPE, None
        return told

    def close(self) -> None:
        self._thread.close()

    def _take(self, head: Head, found: str) -> None:
        if len(found) > credential.CREDENTIAL_CHARACTERS_MAX:
            raise RefusedError(errors.malformed_key())
        head.digest, head.shape = credential.digest(found)
        head.token = found if head.shape == "jwt" else None

    def _no(self, event: str, why: str, raised: Exception | None = None) -> None:
        if self._falls_through:
            return
        log.info(event, why=why)
        _refuse(raised)


def _refuse(raised: Exception | None) -> NoReturn:
    """With the status and the words that the exception has for the client; the text of any other
    stays here: it may hold anything.
    """
    said = getattr(raised, "message", None) or getattr(raised, "detail", None)
    number = 0 if raised is None else status_of(raised)
    message = said[:MESSAGE_CHARACTERS_MAX] if isinstance(said, str) else ""
    raise RefusedError(errors.own_auth_refused(message, number if 400 <= number < 500 else 401)) from None


class Seen:
    """A request as the operator's function sees it: of FastAPI's what is known of a head."""

    def __init__(self, request: Request) -> None:
        self.method = request.method
        self.headers = Headers(request.headers())
        self.url = Url(request.raw_path, request.query)
        self.query_params = dict(parse_qsl(request.query, keep_blank_values=True))
        self.client = SimpleNamespace(host=request.remote, port=0)
        self.path_params: dict[str, str] = {}
        self.state = SimpleNamespace()
        self.scope = {"type": "http", "method": self.method, "path": self.url.path}

    async def body(self) -> bytes:
        raise RuntimeError("the body isn't read before it is known who calls")

    json = form = body


class Url:
    def __init__(self, path: str, query: str) -> None:
        self.path = path
        self.query = query

    def __str__(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Headers(Mapping[str, str]):
    """By their names, in any case."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def load(config: Config) -> OwnAuth | None:
    """Raises SettingsError where the function can't be had: it protects."""
    wanted = own_auth.of(config.general, config.directory)
    if wanted is None:
        return None
    at = "general_settings.custom_auth"
    try:
        function = own_code.load(config.directory, wanted.function)
    except own_code.OwnCodeError as error:
        raise SettingsError(f"{at}: {error}") from None
    if not callable(function):
        raise SettingsError(f"{at}: {wanted.function} is no function")
    log.info("custom_auth_loaded", function=wanted.function, falls_through=wanted.falls_through)
    return OwnAuth(function, falls_through=wanted.falls_through, timeout_s=wanted.timeout_s)
