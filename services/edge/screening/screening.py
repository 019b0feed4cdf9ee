"""What the guardrails say of one request and of its answer, and putting their redactions in their
places.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, cast

import msgspec
import structlog

from services.edge.content import answer as answers
from services.edge.content import request as requests
from services.edge.content.redact import redacted
from services.edge.formats.base import Call, Text
from services.edge.screening import keywords
from services.edge.screening.slices import Piece, groups_of, slices
from services.edge.screening.under import names_of
from shared import bus, errors, subjects
from shared.bus import BusClient
from shared.decoding import UNREADABLE
from shared.errors import Refusal, RefusedError
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import DecodeTokensReply, DecodeTokensRequest, Redaction, ScreenRequest, Verdict

log = structlog.get_logger()

T = TypeVar("T")

QUESTIONS_AT_ONCE = 4
"""Of one request; a large body is many."""
ASKING_MS = 100
"""What the way to moderation and back may take, besides the guardrails' own deadlines."""
TOKENS_TIMEOUT_MS = 3_000
TEXTS_INLINE_MAX = 2_000
"""More are grouped, named and sliced in a thread."""


class CutError(RefusedError):
    """A guardrail beside the call said no while the provider was still being asked."""


class Look(msgspec.Struct, frozen=True):
    """What came of putting texts before the guardrails of a stage."""

    refusal: Refusal | None = None
    """None: it may be said."""
    redactions: list[Redaction] = []
    """Of the texts asked about, by their index."""
    open_from: list[int] | None = None


class Screening:
    """Collects what the guardrails said of one request."""

    def __init__(
        self,
        client: BusClient,
        guardrails: list[GuardrailRef],
        call_type: str,
        customer_id: str | None,
        *,
        refuse_unreadable: bool = False,
        metadata_goes_on: bool = False,
    ) -> None:
        """
        Args:
            refuse_unreadable: whether a file that no guardrail can read refuses the request.
            metadata_goes_on: whether the request's `metadata` reaches the provider without being
                stored, too.
        """
        self._client = client
        self._guardrails = guardrails
        self._call_type = call_type
        self._customer_id = customer_id
        self._refuse_unreadable = refuse_unreadable
        self._metadata_goes_on = metadata_goes_on
        self.names = [guardrail.name for guardrail in guardrails]
        self._stages = {stage for guardrail in guardrails for stage in guardrail.stages}
        self.outcomes: list[GuardrailOutcome] = []
        self._beside: asyncio.Task[tuple[Call, Refusal | None]] | None = None

    @property
    def refuses_unreadable(self) -> bool:
        return self._refuse_unreadable and bool(self._stages & {"pre_call", "during_call"})

    def has(self, stage: str) -> bool:
        return stage in self._stages

    def window(self) -> int:
        """Characters that a finding in a stream may span; 0: some guardrail of answers has to see
        the whole.
        """
        spans = [g.window_characters for g in self._guardrails if "post_call" in g.stages]
        return 0 if 0 in spans else max(spans, default=0)

    # ── the request ──

    async def request(self, call: Call, model: str, stage: str = "pre_call") -> tuple[Call, Refusal | None]:
        """The call as it may be forwarded, or why not. Never raises.

        Args:
            model: the upstream's, whose tokenizer reads a prompt of token ids.
        """
        if not self.has(stage):
            return call, None
        try:
            content = await requests.walked(call.body, requests.of_fields, call.fields, metadata=self._metadata_goes_on)
            if self._refuse_unreadable:
                _refuse_binary(content.texts)
            texts = await self._without_tokens(content.texts, model)
        except RefusedError as no:
            return call, no.refusal
        if content.fields is not None:
            call = with_fields(call, dict(content.fields))
        look = await self.look(stage, texts)
        if look.refusal is not None or not look.redactions:
            return call, look.refusal
        changed = redacted([text.text for text in texts], look.redactions)
        fields = await requests.walked(call.body, requests.with_texts, call.fields, changed, texts)
        return with_fields(call, fields), None

    def start_beside(self, call: Call, model: str) -> None:
        """Begin the guardrails that run beside the provider's call. They end by themselves, within
        their deadlines.
        """
        if self.has("during_call"):
            self._beside = asyncio.create_task(self.request(call, model, "during_call"))

    @property
    def is_beside(self) -> bool:
        """Whether guardrails run, or ran, beside the provider's call."""
        return self._beside is not None

    async def beside(self) -> Refusal | None:
        """What they say; before it is known, nothing of an answer goes out."""
        if self._beside is None:
            return None
        _, refusal = await asyncio.shield(self._beside)
        return refusal

    async def unless_refused(self, asking: Coroutine[Any, Any, T]) -> T:
        """What the provider says, unless a guardrail beside the call says no before. Raises
        CutError then; the asking is ended.
        """
        assert self._beside is not None
        task = asyncio.ensure_future(asking)
        try:
            await asyncio.wait({task, self._beside}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                _, refusal = self._beside.result()
                if refusal is not None:
                    raise CutError(refusal)
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def header(self) -> str:
        """The line that names the guardrails that ran; empty where none did. One that could not
        answer didn't run.
        """
        if not self.outcomes:
            return ""
        failed = {outcome.name for outcome in self.outcomes if outcome.action == "error"}
        ran = [name for name in dict.fromkeys(outcome.name for outcome in self.outcomes) if name not in failed]
        line = ",".join(name for name in ran if name.isascii() and name.isprintable())
        return f"x-litellm-applied-guardrails: {line}\r\n" if line else ""

    async def _without_tokens(self, texts: list[Text], model: str) -> list[Text]:
        """With what token ids say in their place. Raises RefusedError where nobody knows."""
        at = [i for i, text in enumerate(texts) if text.kind == "tokens"]
        if not at:
            return texts
        prompts = [[int(number) for number in texts[i].text.split()] for i in at]
        decoded: list[str] | None = None
        try:
            question = DecodeTokensRequest(model, prompts)
            reply = await bus.ask(
                self._client, subjects.MODERATION_TOKENS, question, DecodeTokensReply, TOKENS_TIMEOUT_MS
            )
            decoded = reply.texts
        except bus.BusError as error:
            log.warning("tokens_not_decoded", error=error.code)
        if decoded is None or len(decoded) != len(at):
            field = str(texts[at[0]].address[0])
            message = f"{field}: token ids can't be checked by the guardrails of this key; send the text"
            raise RefusedError(errors.bad_request(message, field))
        texts = list(texts)
        for i, text in zip(at, decoded, strict=True):
            texts[i] = msgspec.structs.replace(texts[i], text=text)
        return texts

    # ── the answer ──

    async def answer(self, body: bytes) -> tuple[bytes, Refusal | None]:
        """A whole answer as it may go out, or why not. Never raises."""
        texts = await requests.walked(body, answers.of_answer, body)
        look = await self.look("post_call", texts)
        if look.refusal is not None or not look.redactions:
            return body, look.refusal
        try:
            changed = redacted([text.text for text in texts], look.redactions)
            return await requests.walked(body, answers.with_texts, body, changed, texts), None
        except (LookupError, *UNREADABLE):
            return body, errors.blocked_content("The answer held something that can't be shown", 400)

    # ── asking ──

    async def screen(self, stage: str, said: list[str]) -> Refusal | None:
        """Of plain texts that nothing can be put in the place of: a redaction counts as no
        answer.
        """
        look = await self.look(stage, [Text(("",), text) for text in said])
        if look.refusal is None and look.redactions:
            return errors.guardrail_unavailable(self._redacting(stage))
        return look.refusal

    def _redacting(self, stage: str) -> str:
        return next((o.name for o in self.outcomes if o.stage == stage and o.action == "redact"), stage)

    async def look(self, stage: str, texts: list[Text], *, partial: bool = False) -> Look:
        """Put texts before the guardrails of a stage. Never raises."""
        refs = [guardrail for guardrail in self._guardrails if stage in guardrail.stages]
        if not refs or not texts:
            return Look()
        known = keywords.of(self._client)
        clear = None if partial else known.clear(refs, stage, texts)
        if clear is not None:
            self._note(clear)
            return Look()
        overlap = max(ref.window_characters for ref in refs)
        if len(texts) > TEXTS_INLINE_MAX:
            groups, names, parts = await requests.WALKERS.run(_prepared, texts, overlap)
        else:
            groups, names, parts = _prepared(texts, overlap)
        asked_at = known.now()
        redactions: list[Redaction] = []
        open_from: list[int] | None = None
        for start in range(0, len(parts), QUESTIONS_AT_ONCE):
            some = parts[start : start + QUESTIONS_AT_ONCE]
            asked = [self._ask(stage, refs, part, texts, groups, names, partial) for part in some]
            verdicts = await asyncio.gather(*asked) if len(asked) > 1 else [await asked[0]]
            for part, verdict in zip(some, verdicts, strict=True):
                self._note(verdict.outcomes)
                known.heard(refs, asked_at, verdict.outcomes)
                refusal = self._refusal(verdict)
                if refusal is not None:
                    return Look(refusal)
                redactions += [_of_text(part[r.text], r) for r in verdict.redactions]
                if partial and len(verdict.open_from) == len(part) and len(parts) == 1:
                    open_from = verdict.open_from
        return Look(None, redactions, open_from)

    async def _ask(
        self,
        stage: str,
        refs: list[GuardrailRef],
        part: list[Piece],
        texts: list[Text],
        groups: list[int],
        names: list[str],
        partial: bool,
    ) -> Verdict:
        """An answer that can't be had is one: every guardrail's outcome is `error` then."""
        question = ScreenRequest(
            [ref.name for ref in refs],
            stage,
            [piece.said for piece in part],
            self._call_type,
            self._customer_id,
            [texts[piece.text].kind for piece in part],
            [texts[piece.text].role for piece in part],
            [groups[piece.text] for piece in part] if any(groups) else [],
            partial,
            [names[piece.text] for piece in part] if any(names) else [],
        )
        deadline_ms = sum(ref.deadline_ms for ref in refs) + ASKING_MS  # one may have to wait for another's redactions
        at_once = all(ref.at_once for ref in refs)
        try:
            verdict = await bus.ask(
                self._client,
                subjects.MODERATION_SCREEN,
                question,
                Verdict,
                deadline_ms,
                tries=2 if at_once else 1,  # what takes milliseconds was lost with a server of the broker, not slow
                again=True,
                together=at_once,
            )
        except bus.BusError as error:
            log.warning("screening_failed", stage=stage, error=error.code)
            return Verdict("error", [GuardrailOutcome(ref.name, stage, "error") for ref in refs])
        if any(not 0 <= r.text < len(part) or not 0 <= r.start <= r.end for r in verdict.redactions):
            return Verdict("error", [GuardrailOutcome(ref.name, stage, "error") for ref in refs])
        return verdict

    def _refusal(self, verdict: Verdict) -> Refusal | None:
        if verdict.action == "block":
            return errors.blocked_content(verdict.message, verdict.status)
        for outcome in verdict.outcomes:
            unapplied = outcome.action == "redact" and not verdict.redactions
            if (outcome.action == "error" or unapplied) and self._blocks_on_error(outcome.name):
                return errors.guardrail_unavailable(outcome.name)
        return None

    def _blocks_on_error(self, name: str) -> bool:
        return all(ref.on_error == "block" for ref in self._guardrails if ref.name == name)

    def _note(self, outcomes: list[GuardrailOutcome]) -> None:
        """One line a guardrail, stage and action of many screenings; none says `allow` where
        another says more. Costs add up.
        """
        for new in outcomes:
            into = next(
                (
                    i
                    for i, line in enumerate(self.outcomes)
                    if (line.name, line.stage) == (new.name, new.stage)
                    and (new.action == "allow" or line.action in (new.action, "allow"))
                ),
                None,
            )
            if into is None:
                self.outcomes.append(new)
                continue
            known = self.outcomes[into]
            self.outcomes[into] = GuardrailOutcome(
                known.name,
                known.stage,
                known.action if new.action == "allow" else new.action,
                max(known.duration_ms, new.duration_ms),
                known.cost_picousd + new.cost_picousd,
                new.rules or known.rules,
            )


UNSCREENED: Final = Screening(cast(BusClient, None), [], "", None)
"""Of every request without a guardrail: it asks nobody, and remembers nothing."""


def _prepared(texts: list[Text], overlap: int) -> tuple[list[int], list[str], list[list[Piece]]]:
    """(groups, names, parts of one question each)."""
    groups = groups_of(texts)
    return groups, names_of(texts), list(slices([text.text for text in texts], overlap, groups))


def _refuse_binary(texts: list[Text]) -> None:
    for text in texts:
        if text.kind == "binary":
            at = ".".join(map(str, text.address))[:200]
            message = f"{at}: a file that is no text can't be checked by the guardrails of this key"
            raise RefusedError(errors.bad_request(message, at))


def with_fields(call: Call, fields: dict[str, msgspec.Raw]) -> Call:
    return msgspec.structs.replace(call, fields=fields, body=requests.joined(fields))


def _of_text(piece: Piece, redaction: Redaction) -> Redaction:
    return Redaction(piece.text, piece.start + redaction.start, piece.start + redaction.end, redaction.replacement)
