"""`default_internal_user_params`: what a new user has, whichever way they come to be here. Pure."""

from typing import Any

from services.policy.catalog import Catalog
from shared.entities import readers as fields


def completed(catalog: Catalog, body: dict[str, Any]) -> dict[str, Any]:
    """With what the configuration says where the body doesn't. Proxy admins are no internal users:
    they have no such limits.
    """
    role = fields.text("user_role", body.get("user_role")) or catalog.new_user_role
    if role == "proxy_admin":
        return body
    said = {name: value for name, value in body.items() if value is not None and (name, value) != ("models", [])}
    return {**catalog.new_users, **said, **({} if role is None else {"user_role": role})}
