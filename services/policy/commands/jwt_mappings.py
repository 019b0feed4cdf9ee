"""/jwt/key/mapping/*: which key a token stands for, by one of its claims. For proxy admins; who may
only look sees them.
"""

from typing import Any

import msgspec

from services.policy.commands import generic
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import JWT_MAPPING, JwtMapping, Key, mapping_id
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest

OF_A_KEY_MAX = 100
"""They follow it through its rotations, in one batch."""
_CLAIM = ("jwt_issuer", "jwt_claim_name", "jwt_claim_value")


def new(call: Call) -> Plan:
    _may(call)
    issuer, name, value = (fields.text(field, call.body.get(field)) for field in _CLAIM)
    if name is None or value is None:
        fields.refuse("jwt_claim_name" if name is None else "jwt_claim_value", "must be said")
    key = _key(call)
    if key is None:
        fields.refuse("key", "(or its digest, as token) must be said: the key that the claim stands for")
    mapping = JwtMapping(
        id=mapping_id(issuer, name, value),
        token=key.token,
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
    )
    if mapping.id in call.directory.tables["jwt_mapping"]:
        message = f"A mapping for claim '{name}' = '{value}' already exists for issuer '{issuer}'."
        raise RefusedError(errors.already_exists(message, "jwt_claim_value"))
    return _save(call, mapping, None)


def update(call: Call) -> Plan:
    """Another key, a description, whether it is in force. What it is a mapping of stays: delete it,
    and make another.
    """
    _may(call)
    before = _named(call, call.body.get("id"))
    for field in _CLAIM:
        if field in call.body and (call.body[field] or None) != getattr(before, field):
            fields.refuse(field, "is what this mapping is about: delete it, and make another")
    key = _key(call)
    return _save(call, before if key is None else msgspec.structs.replace(before, token=key.token), before)


def delete(call: Call) -> Plan:
    _may(call)
    before = _named(call, call.body.get("id"))
    return Plan({"status": "success"}, [change(call.directory, JWT_MAPPING, "deleted", before, None)])


def info(call: Call) -> Plan:
    generic.need(call, call.sees_all, _NOT_YOURS)
    return Plan(JWT_MAPPING.row(_named(call, call.query.get("id"))))


def list_mappings(call: Call) -> Plan:
    generic.need(call, call.sees_all, _NOT_YOURS)
    page = generic.page(call, call.directory.ordered("jwt_mapping", "created_at_ms", descending=True), default=50)
    return Plan(
        {
            "mappings": [JWT_MAPPING.row(each) for each in page.items],
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
        }
    )


def moved(call: Call, old: KeyDigest, new: KeyDigest) -> list[Change]:
    """The mappings of a key that another one takes the place of."""
    found: list[JwtMapping] = call.directory.find("jwt_mapping", "token", old)
    return [
        change(call.directory, JWT_MAPPING, "updated", each, msgspec.structs.replace(each, token=new)) for each in found
    ]


_NOT_YOURS = "Only proxy admins may say which key a token stands for."


def _may(call: Call) -> None:
    generic.need(call, call.is_admin, _NOT_YOURS)


def _named(call: Call, sent: Any) -> JwtMapping:
    found: JwtMapping = generic.named(call, JWT_MAPPING, fields.text("id", sent), "id", "Mapping not found")
    return found


def _key(call: Call) -> Key | None:
    """The one that the body names, in either way."""
    named = [name for name in ("key", "token") if call.body.get(name) is not None]
    if not named:
        return None
    if len(named) > 1:
        fields.refuse("token", "and key name the same: send one of them")
    digest = fields.text(named[0], call.body[named[0]])
    key = None if digest is None else call.directory.keys.get(KeyDigest(digest))
    if key is None or key.replaced_by is not None:
        fields.refuse(named[0], "names no key: The provided key does not match an existing virtual key")
    if len(call.directory.find("jwt_mapping", "token", key.token)) >= OF_A_KEY_MAX:
        fields.refuse(named[0], f"has {OF_A_KEY_MAX} mappings already")
    return key


def _save(call: Call, known: JwtMapping, before: JwtMapping | None) -> Plan:
    made = JWT_MAPPING.merge(known, call.body)
    after = generic.stamped(call, made.entity)
    JWT_MAPPING.check_size(after)
    auth = call.catalog.jwt
    idle = [] if auth is not None and auth.rules.key_claim == after.jwt_claim_name else ["jwt_claim_name"]
    changes = [change(call.directory, JWT_MAPPING, "created" if before is None else "updated", before, after)]
    return Plan(JWT_MAPPING.row(after), changes, made.unknown, idle)
