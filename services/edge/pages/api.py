"""Questions to policy and ledger with the visitor's own session: a page can do no more than who
looks at it.
"""

from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from services.edge.pages import words
from services.edge.pages.shown import ShownSettings, Value, of_environment
from services.edge.pages.visitor import Visitor
from services.edge.parts import Parts
from services.edge.surfaces import guardrails, management
from services.edge.upstream import Deadlines, UpstreamError, render_headers
from shared import asker, bus
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.ids import abbreviate_key, digest_key, new_virtual_key
from shared.requests import AdminRequest, DecideRequest
from shared.routes import TABLE

DEADLINES = Deadlines(connect_ms=1_000, first_byte_ms=10_000, idle_ms=10_000, total_ms=20_000)
ANSWER_BYTES_MAX = 8 * 1024 * 1024


class AskError(Exception):
    """What policy or the ledger answered instead. The message is for the visitor."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Served(msgspec.Struct, frozen=True):
    """One deployment."""

    model: str
    upstream: str
    id: str
    rests_s: float
    """How long it still cools down; 0: it doesn't."""
    calls: int
    fails: int
    """Of this edge, within a minute."""
    latency_s: float | None
    """Mean time to an answer's head; None: it has answered nobody yet."""


class Api:
    def __init__(self, parts: Parts, visitor: Visitor, address: str | None) -> None:
        """`address`: the browser's, for the audit log."""
        self._parts = parts
        self.visitor = visitor
        self._address = address

    async def policy(
        self,
        route: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        plaintext: str | None = None,
    ) -> Any:
        """A management route's JSON answer. Raises AskError.

        Args:
            plaintext: of the key that it makes.
        """
        parts = self._parts
        question = AdminRequest(
            key_sha256=self.visitor.digest,
            route=route,
            query=query or {},
            body=body or {},
            requester_ip=self._address,
            min_control_seq=parts.grants.seen_seq,
            deadline_at_ms=parts.clock.unix_ms() + parts.settings.edge_admin_timeout_ms,
            params=params or {},
        )
        try:
            reply = await management.ask(parts, question, TABLE.by_name[route], plaintext)
        except bus.BusError:
            raise AskError(503, self._say("ask.policy_away")) from None
        except RefusedError as no:
            raise AskError(no.refusal.status, no.refusal.message) from None
        for subject in reply.changed:
            parts.grants.forget(subject, reply.control_seq)
        return self._read(reply.status, reply.body)

    @property
    def configuration(self) -> ShownSettings:
        """What this edge was started with, without anything secret."""
        return self._parts.shown_settings

    def environment(self) -> list[Value]:
        """What the environment told this edge."""
        return of_environment(self._parts.settings)

    def deployments(self) -> list[Served]:
        """What this edge can call, also what was added by API, and how it fares here."""
        parts, now = self._parts, self._parts.clock.seconds()
        found = {target.deployment.id: target.deployment for target in parts.targets.values()}
        return [
            Served(
                each.model_name,
                f"{each.provider}/{each.upstream_model}",
                id,
                parts.health.rest_left_s(id, now),
                *parts.health.last_minute(id, now),
            )
            for id, each in found.items()
        ]

    async def minted(self, route: str, body: dict[str, Any], params: dict[str, str] | None = None) -> tuple[str, Any]:
        """As `policy`, for a command that makes a key: (its plaintext, which is nowhere else; the
        answer).
        """
        plaintext = new_virtual_key()
        named = {**body, "token": digest_key(plaintext), "key_name": abbreviate_key(plaintext)}
        return plaintext, await self.policy(route, body=named, params=params, plaintext=plaintext)

    async def tried(self, guardrail: str, text: str) -> str:
        """The text as a guardrail leaves it. Raises AskError with its refusal."""
        try:
            return await guardrails.tried(self._parts, guardrail, text)
        except RefusedError as no:
            raise AskError(no.refusal.status, no.refusal.message) from None

    async def ledger(
        self, path: str, query: dict[str, str] | None = None, *, method: str = "GET", body: dict[str, Any] | None = None
    ) -> Any:
        """A JSON answer of the ledger. Raises AskError."""
        return self._read(
            *await self._ask_ledger(path, query, method, b"" if body is None else msgspec.json.encode(body))
        )

    async def ledger_raw(self, path: str, query: dict[str, str] | None = None) -> bytes:
        """An answer of the ledger that isn't JSON. Raises AskError."""
        status, body = await self._ask_ledger(path, query)
        if status >= 400:
            self._read(status, body)
        return body

    async def _ask_ledger(
        self, path: str, query: dict[str, str] | None, method: str = "GET", sent: bytes = b""
    ) -> tuple[int, bytes]:
        parts = self._parts
        target = quote(path, safe="/-._~") + ("?" + urlencode(query) if query else "")
        who = DecideRequest(self.visitor.digest, "")
        signed = parts.signer.sign(who, method, target, sent, parts.clock.unix_ms())
        lines = [(asker.HEADER, signed), ("x-forwarded-for", self._address or "")]
        if sent:
            lines.append(("content-type", "application/json"))
        headers = render_headers(lines)
        target = parts.ledger_path + target
        try:
            answer = await parts.upstream.send(parts.ledger, method, target, headers, sent, DEADLINES)
            try:
                pieces, size = [], 0
                while chunk := await answer.next_chunk():
                    size += len(chunk)
                    if size > ANSWER_BYTES_MAX:
                        raise AskError(400, self._say("ask.too_much"))
                    pieces.append(chunk)
            finally:
                if not answer.complete:
                    answer.abort()
        except UpstreamError:
            raise AskError(503, self._say("ask.ledger_away")) from None
        return answer.status, b"".join(pieces)

    def _read(self, status: int, body: bytes) -> Any:
        try:
            found = msgspec.json.decode(body)
        except UNREADABLE:
            raise AskError(502, self._say("ask.unreadable")) from None
        if status < 400:
            return found
        error = found.get("error") if isinstance(found, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        raise AskError(status, str(message or self._say("ask.refused"))[:500])

    def _say(self, key: str) -> str:
        return words.say(self.visitor.language, key)
