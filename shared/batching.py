"""Questions of one turn of the loop that go to the same place, in one message; their answers come
in one too.

A message costs the broker, the asker and the answerer more than the question in it. So what is
asked in the same turn travels together, as facts do; a question that is alone in its turn travels
as it is, and nobody waits for company.

For questions without effects that are answered at once: the bundle's answer waits for its last.
Where a bundle can't be answered as a whole (unreadable, too large, too much to do), its questions
are asked again one by one, so one never fails for another's sake.
"""

import asyncio
import struct
from collections.abc import Callable
from functools import partial

import msgspec

from shared.decoding import UNREADABLE
from shared.wire_connection import WireError

HEAD = b"\xdd"
"""msgpack's array of many: no question and no answer begins with it, being short arrays."""
QUESTIONS_MAX = 16
BYTES_MAX = 32 * 1024
"""Larger questions aren't worth it: what is saved is by the message, and the rest of the bundle
would wait for them.
"""

Request = Callable[..., "asyncio.Future[bytes]"]
"""shared.wire.Wire.request."""


def pack(encoded: list[bytes]) -> bytes:
    """Questions or answers already encoded."""
    return HEAD + struct.pack(">I", len(encoded)) + b"".join(encoded)


class _Bundle:
    """What is asked of one place in one turn."""

    __slots__ = ("futures", "questions", "size_bytes", "subject", "timeout_s")

    def __init__(self, subject: str, timeout_s: float) -> None:
        self.subject = subject
        self.timeout_s = timeout_s
        self.questions: list[bytes] = []
        self.futures: list[asyncio.Future[bytes]] = []
        self.size_bytes = 0


class Bundler:
    """
    Args:
        request: asks one message.
        flush: hands what was asked to the socket now.
    """

    def __init__(self, request: Request, flush: Callable[[], None]) -> None:
        self._request = request
        self._flush = flush
        self._open: dict[tuple[str, float], _Bundle] = {}
        self._bundles: list[_Bundle] = []
        """Of this turn, in their order."""

    def ask(self, subject: str, question: bytes, timeout_s: float) -> "asyncio.Future[bytes]":
        """The future has the answer, or a WireError. Goes out before the loop's next turn."""
        loop = asyncio.get_running_loop()
        if not self._bundles:
            loop.call_soon(self._send)
        bundle = self._open.get((subject, timeout_s))
        if bundle is None or len(bundle.questions) == QUESTIONS_MAX or bundle.size_bytes + len(question) > BYTES_MAX:
            bundle = self._open[subject, timeout_s] = _Bundle(subject, timeout_s)
            self._bundles.append(bundle)
        future: asyncio.Future[bytes] = loop.create_future()
        bundle.questions.append(question)
        bundle.futures.append(future)
        bundle.size_bytes += len(question)
        return future

    def _send(self) -> None:
        bundles, self._bundles = self._bundles, []
        self._open.clear()
        for bundle in bundles:
            if len(bundle.questions) == 1:
                self._alone(bundle.subject, bundle.questions[0], bundle.timeout_s, bundle.futures[0])
            else:
                self._together(bundle)
        self._flush()

    def _alone(self, subject: str, question: bytes, timeout_s: float, future: "asyncio.Future[bytes]") -> None:
        try:
            self._request(subject, question, timeout_s, future=future)
        except WireError as error:
            if not future.done():
                future.set_exception(error)

    def _together(self, bundle: _Bundle) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer = self._request(bundle.subject, pack(bundle.questions), bundle.timeout_s)
        except WireError as error:
            _fail(bundle.futures, error)
        else:
            answer.add_done_callback(partial(self._spread, bundle, loop.time() + bundle.timeout_s))

    def _spread(self, bundle: _Bundle, deadline: float, answer: "asyncio.Future[bytes]") -> None:
        """Each question its answer."""
        error = answer.exception()
        if error is not None:
            _fail(bundle.futures, error)
            return
        answers = _unpack(answer.result())
        if len(answers) == len(bundle.futures):
            for future, one in zip(bundle.futures, answers, strict=True):
                if not future.done():
                    future.set_result(bytes(one))
            return
        left_s = max(0.001, deadline - asyncio.get_running_loop().time())
        for question, future in zip(bundle.questions, bundle.futures, strict=True):
            if not future.done():
                self._alone(bundle.subject, question, left_s, future)


_answers = msgspec.msgpack.Decoder(list[msgspec.Raw])


def _unpack(message: bytes) -> list[msgspec.Raw]:
    """The answers of a bundle; none where the message isn't that."""
    if not message.startswith(HEAD):
        return []
    try:
        return _answers.decode(message)
    except UNREADABLE:
        return []


def _fail(futures: "list[asyncio.Future[bytes]]", error: BaseException) -> None:
    code = error.code if isinstance(error, WireError) else "timeout"
    for future in futures:
        if not future.done():
            future.set_exception(WireError(code))
