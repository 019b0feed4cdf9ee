"""Internal users and customers. Each row's command is in services/policy/commands."""

from shared.entities import CUSTOMER, USER
from shared.routes.forms import CURSOR, OBJECTS, PAGE, STRING, STRINGS, body, change, question
from shared.routes.route import Parameter

_USER_IDS = body(None, "user_ids", user_ids=STRINGS)
_USERS = (
    change(
        "/user/new",
        "Make an internal user, with a key unless auto_create_key is false",
        body(USER, user_id=STRING, auto_create_key={"type": ["boolean", "null"]}, teams={"type": "array"}),
        mints="key",
    ),
    change("/user/update", "Change an internal user", body(USER, user_id=STRING)),
    change(
        "/user/bulk_update",
        "Change several internal users; each stands or falls by itself",
        body(
            None,
            users={"type": "array", "items": body(USER, user_id=STRING)},
            all_users={"type": ["boolean", "null"]},
            user_updates={"type": ["object", "null"]},
        ),
    ),
    change("/user/delete", "Delete internal users, and their keys", _USER_IDS, answer={"type": "integer"}),
    question("/user/info", "One internal user", Parameter("user_id", "Without it the caller")),
    question(
        "/v2/user/info", "One internal user, without keys and teams", Parameter("user_id", "Without it the caller")
    ),
    question(
        "/user/list",
        "Internal users",
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        CURSOR,
        Parameter("role"),
        Parameter("user_ids"),
        Parameter("sso_user_ids"),
        Parameter("user_email", "A part of it"),
        Parameter("search", "A part of the id, the address or the name"),
        Parameter("team"),
        Parameter("organization_ids"),
        Parameter("sort_by"),
        Parameter("sort_order"),
    ),
    question(
        "/user/filter/ui",
        "Users whose id or address has a part, for who looks for somebody to add",
        Parameter("user_id"),
        Parameter("user_email"),
        Parameter("search"),
        Parameter("team_id"),
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        answer=OBJECTS,
    ),
    change(
        "/invitation/new",
        "Let a user set a password, by a link: /ui?invitation_id=<id>, good once and for a week",
        body(None, "user_id", user_id=STRING),
        mints="id",
    ),
    question("/invitation/info", "One invitation", Parameter("invitation_id", required=True)),
    change(
        "/invitation/update",
        "Say that an invitation was accepted: its link is good for nothing any more",
        body(None, "invitation_id", "is_accepted", invitation_id=STRING, is_accepted={"type": "boolean"}),
    ),
    change("/invitation/delete", "Withdraw an invitation", body(None, "invitation_id", invitation_id=STRING)),
    question("/user/available_roles", "The roles an internal user may have"),
)


def _customer(verb: str) -> tuple[str, str]:
    return f"/customer/{verb}", f"/end_user/{verb}"


_CUSTOMERS = (
    change(_customer("new")[0], "Make a customer", body(CUSTOMER, "user_id", user_id=STRING), _customer("new")[1]),
    change(
        _customer("update")[0], "Change a customer", body(CUSTOMER, "user_id", user_id=STRING), _customer("update")[1]
    ),
    change(_customer("delete")[0], "Delete customers", _USER_IDS, _customer("delete")[1]),
    change(
        _customer("block")[0],
        "Refuse every call made for these customers",
        _USER_IDS,
        _customer("block")[1],
        "/user/block",
    ),
    change(_customer("unblock")[0], "Serve these customers again", _USER_IDS, _customer("unblock")[1], "/user/unblock"),
    question(_customer("info")[0], "One customer", Parameter("end_user_id"), also=(_customer("info")[1],)),
    question(
        _customer("list")[0],
        "Customers somebody set something on, by id",
        *PAGE,
        Parameter("after", "Only ids that come after this one"),
        Parameter("search", "A part of the id or alias"),
        also=(_customer("list")[1],),
        answer=OBJECTS,
    ),
)

ROWS = (*_USERS, *_CUSTOMERS)
