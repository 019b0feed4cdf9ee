"""What the guardrails let go on of a call that is relayed as it is."""

from services.edge import account, texts
from services.edge.formats import events
from services.edge.formats.base import Call
from services.edge.own_hooks import OwnHooks
from services.edge.parts import Parts
from services.edge.passthrough.form import Form
from services.edge.passthrough.kinds import Kind
from services.edge.reading import Head
from services.edge.screening import Screening
from shared import errors
from shared.errors import Refusal
from shared.grant import Permit
from shared.routes import Route


async def screened(
    parts: Parts, route: Route, head: Head, call: Call, permit: Permit, screening: Screening, form: Form | None
) -> Call:
    """The call as it may be forwarded. Raises RefusedError. In a form nothing can be put in a
    text's place: a redaction refuses it.
    """
    refusal: Refusal | None
    if form is None:
        call, refusal = await screening.request(call, permit.candidates[0].upstream_model if permit.candidates else "")
    else:
        files = list(form.files())
        said = [text for name, text in form.fields.items() if name != "model"] + [text for text in files if text]
        refusal = None
        if None in files and screening.refuses_unreadable:
            refusal = errors.bad_request(
                "A file that is no text can't be checked by the guardrails of this key", "file"
            )
        for stage in ("pre_call", "during_call"):
            if refusal is None and said and screening.has(stage):
                refusal = await screening.screen(stage, said)
    if refusal is not None:
        await account.refuse(parts, refusal, route, head, permit.grant.caller, call, permit, screening)
    return call


def hooks_of(parts: Parts, kind: Kind, content_type: str) -> OwnHooks | None:
    """The operator's own Python that is asked about an answer, should it be in one piece; None:
    none is.
    """
    hooks = parts.own_hooks
    if hooks is None or not hooks.change_answers:
        return None
    is_no_answer = kind.is_free and (kind.of_response in ("", "DELETE") or kind.path.endswith("/input_items"))
    if is_no_answer or kind.is_sound:
        return None
    return None if content_type.partition(";")[0].strip().lower() == "text/event-stream" else hooks


async def screened_answer(screening: Screening, body: bytes, content_type: str) -> tuple[bytes, Refusal | None]:
    """An answer as it may go out, or why not; neither JSON nor events: there is no text in it."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        said = texts.of_events(events.split_events(body))
        return body, await screening.screen("post_call", ["".join(said)]) if said else None
    if kind == "application/json" or kind.startswith("text/"):
        return await screening.answer(body)
    return body, None
