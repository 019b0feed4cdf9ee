"""Changes of one call about the thing of the address, and back to where it is shown."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from services.edge.pages.forms import Form
from services.edge.pages.view import Act, Done, Look

Body = Callable[[Look, Form], dict[str, Any]]


def call(route: str, body: Body, back: str, message: str) -> Act:
    """
    Args:
        back: an address; `{id}` stands for the thing's.
        message: a key of the catalogue.
    """

    async def act(look: Look, form: Form) -> Done:
        await look.api.policy(route, body=body(look, form))
        return Done(back.replace("{id}", quote(look.id, safe="")), message)

    return act


def own(field: str) -> Body:
    """The thing's id alone, as `field`."""
    return lambda look, form: {field: look.id}


def in_list(field: str) -> Body:
    return lambda look, form: {field: [look.id]}


def sent(field: str, name: str) -> Body:
    """What the form names, in a list."""
    return lambda look, form: {field: [form[name]]}
