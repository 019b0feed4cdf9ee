"""Headers of the operator's own that mean something: whose values are tags
(`extra_spend_tag_headers`), and which names the customer (`user_header_name`,
`user_header_mappings`). Applied to a head that has been read, before the body is. And which of a
client's headers providers get (`forward_client_headers_to_llm_api`)."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.edge import reading
from services.edge.formats.fields import TAG_CHARACTERS_MAX
from services.edge.http import Request
from services.edge.reading import Head, text
from shared import credential
from shared.config import Config, ConfigError

CUSTOMER = "customer"


class OwnHeaders(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] = ()
    """For the book alone: nothing is decided by them, so no rule about a caller's own tags holds
    for them.
    """
    customers: tuple[str, ...] = ()
    """The first that a request has names its customer, unless one of the gateway's own headers
    does.
    """

    def read(self, request: Request, head: Head) -> None:
        """Adds to the head."""
        said = ((name, text(request.header(name.lower()))) for name in self.tags)
        head.own_tags = tuple(f"{name}: {value}"[:TAG_CHARACTERS_MAX] for name, value in said if value)
        if head.hints.customer_id is None and self.customers:
            found = (text(request.header(name.lower())) for name in self.customers)
            customer_id = next((value for value in found if value), None)
            head.hints = msgspec.structs.replace(head.hints, customer_id=customer_id)


def head(own: OwnHeaders | None, request: Request) -> Head:
    """What a request's head says. Raises RefusedError."""
    found = reading.head(request)
    if own is not None:
        own.read(request, found)
    return found


def client_tags(user_agent: str) -> list[str]:
    """Which client it is, and which of its versions."""
    return [f"User-Agent: {user_agent.partition('/')[0]}", f"User-Agent: {user_agent}"]


def of(config: Config) -> OwnHeaders | None:
    """Raises ConfigError."""
    general = config.general
    customers = [general.user_header_name] if general.user_header_name else []
    customers += _customers(general.user_header_mappings)
    tags = tuple(config.litellm.extra_spend_tag_headers)
    return OwnHeaders(tags, tuple(customers)) if tags or customers else None


def _customers(mappings: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> list[str]:
    found = []
    for each in [mappings] if isinstance(mappings, Mapping) else mappings:
        name, role = each.get("header_name"), str(each.get("litellm_user_role") or CUSTOMER)
        if not isinstance(name, str) or not name:
            raise ConfigError("general_settings.user_header_mappings: each has a header_name")
        if role == CUSTOMER:
            found.append(name)
    return found


_NOT_ON = ("x-litellm-", "x-tollgate-", "x-stainless", "x-forwarded-", "x-real-ip", "x-amz-")
"""What is for us, for what stands before us, or part of a signature."""
_TOO = frozenset({"anthropic-beta"})


def forwarded(headers: Mapping[str, str], sent: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A client's `x-` headers that its provider gets too: no credential, and none that the entry
    sets itself.

    Args:
        headers: by lower-case names.
        sent: what goes to the provider anyway.
    """
    set_by_us = {name.lower() for name, _ in sent}
    return [
        (name, value)
        for name, value in headers.items()
        if (name in _TOO or (name.startswith("x-") and not name.startswith(_NOT_ON)))
        and name not in credential.HEADERS
        and _SENDABLE.fullmatch(value) is not None
        and name not in set_by_us
    ]


_OF_ONE_REQUEST = (
    "x-request-id",
    "x-correlation-id",
    "x-trace-id",
    "x-b3-",
    "x-cloud-trace-context",
    "x-amzn-trace-id",
)
"""Name a request, and say nothing of its answer."""


def meant(headers: Mapping[str, str]) -> bytes:
    """A digest of what goes on of a client's headers and may change the answer."""
    going = sorted(each for each in forwarded(headers, ()) if not each[0].startswith(_OF_ONE_REQUEST))
    return hashlib.sha256(msgspec.json.encode(going)).digest()


_SENDABLE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
