"""What a call that is relayed as it is asks for, in JSON or in a form."""

from collections.abc import Callable
from functools import partial

import msgspec

from services.edge.formats import fields as fields_
from services.edge.formats import joined
from services.edge.formats.base import Call
from services.edge.http import Request
from services.edge.parts import Parts
from services.edge.passthrough.files import Files, MultipartError
from services.edge.passthrough.form import Form
from services.edge.reading import Head
from shared import errors
from shared.billing import Usage
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.money import CALL_TOKENS_MAX
from shared.routes import Route


def form_of(parts: Parts, request: Request, body: bytes) -> Form:
    """Raises RefusedError."""
    content_type = request.header("content-type") or ""
    try:
        if parts.sizes.limits_files:
            refusal = Files(content_type, parts.sizes.file_refusal).feed(body)
            if refusal is not None:
                raise RefusedError(refusal)
        return Form(content_type, body)
    except MultipartError as error:
        raise RefusedError(errors.bad_request(f"The form can't be read: {error}")) from None


def reader(route: Route, head: Head) -> Callable[[bytes], Call]:
    """Reads another body of a JSON call as its own was read."""
    return partial(call_of, route, head, form=None)


def call_of(route: Route, head: Head, body: bytes, form: Form | None) -> Call:
    """Raises RefusedError with what is wrong and where."""
    hints = head.hints
    if form is not None:
        model = form.fields.get("model", "")
        if not model:
            raise fields_.bad(f"{route.name}: Missing required parameter: 'model'.", "model")
        fields_.check_model(model)
        fields = {name: joined.quoted(text) for name, text in form.fields.items() if name not in ("model", "metadata")}
        fields_.refuse_unsafe(fields)
        call = Call(
            body, {"user": fields["user"]} if "user" in fields else {}, model, form.fields.get("stream") == "true"
        )
        fields_.add_common(call, hints)
        return msgspec.structs.replace(call, fields=fields)
    fields, _ = fields_.split(body)
    fields_.refuse_unsafe(fields)
    call = Call(body, fields, fields_.model_of(fields, route.name))
    if "stream" in fields:
        call.stream = fields_.flag(fields, "stream")
    if route.required:
        fields_.required(fields, route.required, route.name)
    fields_.add_common(call, hints)
    return call


def unsaid(route: Route, call: Call) -> Usage | None:
    """What was used as far as an answer of sound can't say it of itself."""
    if route.name != "/audio/speech":
        return None
    try:
        said = msgspec.json.decode(call.fields["input"], type=str)
    except (*UNREADABLE, KeyError):
        return None
    return Usage(input_characters=min(len(said), CALL_TOKENS_MAX), source="estimated")
