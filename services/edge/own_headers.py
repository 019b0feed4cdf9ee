"""Headers of the operator's own that mean something: whose values are tags (`extra_spend_tag_headers`), and which names the customer
(`user_header_name`, `user_header_mappings`). Applied to a head that has been read, before the body is."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.edge.http import Request
from services.edge.reading import Head, text
from shared.config import Config, ConfigError

CUSTOMER = "customer"


class OwnHeaders(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    """The first that a request has names its customer, unless one of the gateway's own headers does."""

    def read(self, request: Request, head: Head) -> None:
        """Adds to the head's hints."""
        hints = head.hints
        tags, customer_id = hints.tags, hints.customer_id
        for name in self.tags:
            value = text(request.header(name.lower()))
            if value:
                tag = f"{name}: {value}".replace(",", " ")  # a comma would make two tags of it
                tags = f"{tags},{tag}" if tags else tag
        if customer_id is None:
            found = (text(request.header(name.lower())) for name in self.customers)
            customer_id = next((value for value in found if value), None)
        if (tags, customer_id) != (hints.tags, hints.customer_id):
            head.hints = msgspec.structs.replace(hints, tags=tags, customer_id=customer_id)


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
