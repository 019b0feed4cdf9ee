"""Keys, teams, users, customers and everything else that policy owns. Each row's command is in services/policy/commands."""

from typing import Any

from shared.entities import CREDENTIAL, CUSTOMER, KEY, MODEL, ORGANIZATION, PROJECT, TEAM, USER, EntityKind
from shared.routes.route import Parameter, Route

OBJECT: dict[str, Any] = {"type": "object"}
OBJECTS: dict[str, Any] = {"type": "array", "items": OBJECT}
_STRING: dict[str, Any] = {"type": "string"}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING, "minItems": 1}


def _body(kind: EntityKind[Any] | None = None, *required: str, **more: Any) -> dict[str, Any]:
    """An object with what may be set on a kind, and `more`."""
    known = {} if kind is None else kind.body_schema()["properties"]
    schema: dict[str, Any] = {"type": "object", "properties": {**known, **more}}
    return {**schema, "required": list(required)} if required else schema


def _change(
    path: str,
    summary: str,
    request: Any = OBJECT,
    *also: str,
    answer: Any = OBJECT,
    mints: str = "",
    seals: str = "",
    name: str = "",
    method: str = "POST",
) -> Route:
    return Route(
        name=name or path,
        methods=(method,),
        paths=(path, *also),
        surface="management",
        mutates=True,
        summary=summary,
        request=request,
        answer=answer,
        mints=mints,
        seals=seals,
    )


def _question(path: str, summary: str, *query: Parameter, also: tuple[str, ...] = (), answer: Any = OBJECT) -> Route:
    return Route(
        name=path,
        methods=("GET",),
        paths=(path, *also),
        surface="management",
        summary=summary,
        query=query,
        answer=answer,
    )


_KEY = Parameter("key", "The key, or its SHA-256; without it the caller's own")
_TEAM_ID = Parameter("team_id", "Without it the caller's own")
_PAGE = (Parameter("page", type="integer"), Parameter("size", type="integer"))
_KEY_FILTERS = tuple(
    Parameter(name)
    for name in (
        "user_id", "team_id", "organization_id", "key_hash", "key_alias", "search", "status", "expires", "sort_by", "sort_order",
    )
)  # fmt: skip
_KEY_FLAGS = tuple(
    Parameter(name, type="boolean")
    for name in ("return_full_object", "include_team_keys", "include_created_by_keys", "substring_matching")
)
_ONE_KEY = _body(None, key=_STRING, key_alias=_STRING)
_ONE_TEAM = _body(None, "team_id", team_id=_STRING)
_MEMBER = _body(None, "team_id", team_id=_STRING, user_id=_STRING, user_email=_STRING, role=_STRING)
_USER_IDS = _body(None, "user_ids", user_ids=_STRINGS)
_DURATION = {"type": ["string", "null"], "description": "30s, 30m, 30h, 30d, 1w, 1mo"}

_KEYS = (
    _change("/key/generate", "Make a virtual key", _body(KEY, key=_STRING, duration=_DURATION), mints="key"),
    _change("/key/update", "Change a key", _body(KEY, key=_STRING, duration=_DURATION)),
    _change(
        "/key/service-account/generate",
        "Make a key for a service account of a team",
        _body(KEY, "team_id", "key_alias", key=_STRING, duration=_DURATION),
        mints="key",
    ),
    _change(
        "/key/bulk_update",
        "Change several keys; each stands or falls by itself",
        _body(
            None, "keys", keys={"type": "array", "items": _body(KEY, key=_STRING, duration=_DURATION), "minItems": 1}
        ),
    ),
    _change("/key/delete", "Delete keys", _body(None, keys=_STRINGS, key_aliases=_STRINGS)),
    _change("/key/block", "Block a key", _ONE_KEY),
    _change("/key/unblock", "Unblock a key", _ONE_KEY),
    _change(
        "/key/regenerate",
        "Give a key another secret; with grace_period the old one lives on for a while",
        _body(KEY, key=_STRING, new_key=_STRING, grace_period=_DURATION, duration=_DURATION),
        "/key/{key:path}/regenerate",
        mints="new_key",
    ),
    _question("/key/info", "One key", _KEY),
    Route(
        name="/v2/key/info",
        methods=("POST",),
        paths=("/v2/key/info",),
        surface="management",
        summary="Several keys",
        request=_body(None, "keys", keys=_STRINGS),
        answer=OBJECT,
    ),
    _question("/key/list", "The keys that the caller may see", *_PAGE, *_KEY_FILTERS, *_KEY_FLAGS),
    _question(
        "/key/aliases",
        "The names of the keys that the caller may see",
        *_PAGE,
        Parameter("search"),
        Parameter("team_id"),
    ),
)

_TEAMS = (
    _change("/team/new", "Make a team", _body(TEAM, team_id=_STRING)),
    Route(
        name="/team/update",
        methods=("POST",),
        paths=("/team/update",),
        surface="management",
        mutates=True,
        summary="Change a team",
        request=_body(TEAM, "team_id", team_id=_STRING),
        answer=OBJECT,
    ),
    _change("/team/delete", "Delete teams, and their keys", _body(None, "team_ids", team_ids=_STRINGS)),
    _change("/team/block", "Block a team", _ONE_TEAM),
    _change("/team/unblock", "Unblock a team", _ONE_TEAM),
    _question("/team/info", "One team", _TEAM_ID),
    _question(
        "/team/list",
        "The teams that the caller may see",
        Parameter("user_id"),
        Parameter("organization_id"),
        answer=OBJECTS,
    ),
    _question(
        "/v2/team/list",
        "The teams that the caller may see, a page at a time",
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        Parameter("user_id"),
        Parameter("organization_id"),
        Parameter("team_id"),
        Parameter("team_alias"),
        Parameter("sort_by"),
        Parameter("sort_order"),
    ),
    _question("/team/available", "Teams that the caller may join by themselves", answer=OBJECTS),
    _change("/team/member_add", "Add members to a team", _body(None, "team_id", "member", team_id=_STRING, member={})),
    _change(
        "/team/bulk_member_add",
        "Add many members to a team; who can't be added keeps nobody else out",
        _body(
            None,
            "team_id",
            team_id=_STRING,
            members={"type": "array"},
            all_users={"type": ["boolean", "null"]},
            role=_STRING,
        ),
    ),
    _change("/team/member_update", "Change a member of a team", _MEMBER),
    _change("/team/member_delete", "Take a member out of a team", _MEMBER),
    _change("/team/model/add", "Let a team use more models", _body(None, "team_id", team_id=_STRING, models=_STRINGS)),
    _change("/team/model/delete", "Take models from a team", _body(None, "team_id", team_id=_STRING, models=_STRINGS)),
    _question("/team/permissions_list", "What plain members may do with the team's keys", _TEAM_ID),
    _change(
        "/team/permissions_update",
        "Set what plain members may do with the team's keys",
        _body(None, "team_id", team_id=_STRING, team_member_permissions={"type": "array", "items": _STRING}),
    ),
)

_CALLBACK = "/team/{team_id:path}/callback"
_CALLBACK_BODY = _body(
    None, "callback_name", callback_name=_STRING, callback_type=_STRING, callback_vars={"type": "object"}
)


def _callback(name: str, method: str, path: str, summary: str, **more: Any) -> Route:
    return Route(
        name=name, methods=(method,), paths=(path,), surface="management", summary=summary, answer=OBJECT, **more
    )


_CALLBACKS = (
    _callback("/team/{team_id}/callback", "GET", _CALLBACK, "Where a team's calls are sent"),
    _callback(
        "POST /team/{team_id}/callback", "POST", _CALLBACK, "Send a team's calls somewhere", mutates=True, request=_CALLBACK_BODY
    ),
    _callback(
        "/team/{team_id}/callback/{callback_name}", "DELETE", _CALLBACK + "/{callback_name}",
        "Send a team's calls there no longer", mutates=True,
    ),
    _callback(
        "/team/{team_id}/disable_logging", "POST", "/team/{team_id:path}/disable_logging", "Send a team's calls nowhere",
        mutates=True, request=OBJECT,
    ),
)  # fmt: skip

_USERS = (
    _change(
        "/user/new",
        "Make an internal user, with a key unless auto_create_key is false",
        _body(USER, user_id=_STRING, auto_create_key={"type": ["boolean", "null"]}, teams={"type": "array"}),
        mints="key",
    ),
    _change("/user/update", "Change an internal user", _body(USER, user_id=_STRING)),
    _change(
        "/user/bulk_update",
        "Change several internal users; each stands or falls by itself",
        _body(
            None,
            users={"type": "array", "items": _body(USER, user_id=_STRING)},
            all_users={"type": ["boolean", "null"]},
            user_updates={"type": ["object", "null"]},
        ),
    ),
    _change("/user/delete", "Delete internal users, and their keys", _USER_IDS, answer={"type": "integer"}),
    _question("/user/info", "One internal user", Parameter("user_id", "Without it the caller")),
    _question(
        "/v2/user/info", "One internal user, without keys and teams", Parameter("user_id", "Without it the caller")
    ),
    _question(
        "/user/list",
        "Internal users",
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        Parameter("role"),
        Parameter("user_ids"),
        Parameter("user_email"),
    ),
    _question("/user/available_roles", "The roles an internal user may have"),
)


def _customer(verb: str) -> tuple[str, str]:
    return f"/customer/{verb}", f"/end_user/{verb}"


_CUSTOMERS = (
    _change(_customer("new")[0], "Make a customer", _body(CUSTOMER, "user_id", user_id=_STRING), _customer("new")[1]),
    _change(
        _customer("update")[0], "Change a customer", _body(CUSTOMER, "user_id", user_id=_STRING), _customer("update")[1]
    ),
    _change(_customer("delete")[0], "Delete customers", _USER_IDS, _customer("delete")[1]),
    _change(
        _customer("block")[0],
        "Refuse every call made for these customers",
        _USER_IDS,
        _customer("block")[1],
        "/user/block",
    ),
    _change(
        _customer("unblock")[0], "Serve these customers again", _USER_IDS, _customer("unblock")[1], "/user/unblock"
    ),
    _question(_customer("info")[0], "One customer", Parameter("end_user_id"), also=(_customer("info")[1],)),
    _question(
        _customer("list")[0],
        "Customers somebody set something on",
        *_PAGE,
        also=(_customer("list")[1],),
        answer=OBJECTS,
    ),
)


def _with(path: str, method: str, summary: str, request: Any, *, answer: Any = OBJECT) -> Route:
    """A change by another method than POST; LiteLLM's clients use POST too where the page of the route says so."""
    return Route(
        name=path,
        methods=(method, "POST"),
        paths=(path,),
        surface="management",
        mutates=True,
        summary=summary,
        request=request,
        answer=answer,
    )


_ORGANIZATION_ID: dict[str, Any] = {"organization_id": _STRING}
_ORGANIZATIONS = (
    _change("/organization/new", "Make an organisation", _body(ORGANIZATION, **_ORGANIZATION_ID)),
    _with("/organization/update", "PATCH", "Change an organisation", _body(ORGANIZATION, **_ORGANIZATION_ID)),
    _with(
        "/organization/delete",
        "DELETE",
        "Delete organisations that have no teams",
        _body(None, "organization_ids", organization_ids=_STRINGS),
        answer=OBJECTS,
    ),
    _question("/organization/info", "One organisation", Parameter("organization_id", required=True)),
    _question("/organization/list", "The organisations that the caller may see", answer=OBJECTS),
    _change(
        "/organization/member_add",
        "Add members",
        _body(None, "organization_id", "member", member={}, **_ORGANIZATION_ID),
    ),
    _with(
        "/organization/member_update",
        "PATCH",
        "Change a member's role",
        _body(None, user_id=_STRING, role=_STRING, **_ORGANIZATION_ID),
    ),
    _with(
        "/organization/member_delete", "DELETE", "Take a member out", _body(None, user_id=_STRING, **_ORGANIZATION_ID)
    ),
    _change("/project/new", "Make a project", _body(PROJECT, project_id=_STRING)),
    _change("/project/update", "Change a project", _body(PROJECT, project_id=_STRING)),
    _with(
        "/project/delete", "DELETE", "Delete projects", _body(None, "project_ids", project_ids=_STRINGS), answer=OBJECTS
    ),
    _question("/project/info", "One project", Parameter("project_id", required=True)),
    _question("/project/list", "The projects that the caller may see", answer=OBJECTS),
)

PARAMS, VALUES = "litellm_params", "credential_values"

_MODELS = (
    _question(
        "/model/info",
        "Deployments of the models that the caller may use",
        Parameter("litellm_model_id"),
        also=("/v1/model/info",),
    ),
    _question("/model_group/info", "The models that the caller may use", Parameter("model_group")),
    _change("/model/new", "Add a deployment of a model", _body(MODEL, "model_name", PARAMS), seals=PARAMS),
    _change("/model/update", "Change a deployment that was added", _body(MODEL, "model_info"), seals=PARAMS),
    _change(
        "/model/{model_id}/update", "Change a deployment that was added", _body(MODEL), seals=PARAMS, method="PATCH"
    ),
    _change("/model/delete", "Take away a deployment that was added", _body(None, "id", id=_STRING)),
    _change("/model/block", "Send no call to a deployment that was added", _body(None, "model_id", model_id=_STRING)),
    _change("/model/unblock", "Send calls to it again", _body(None, "model_id", model_id=_STRING)),
    _question("/credentials", "Credentials of providers, without their secrets"),
    _change(
        "/credentials",
        "Add a credential for models to name",
        _body(CREDENTIAL, "credential_name", VALUES, credential_name=_STRING),
        seals=VALUES,
        name="POST /credentials",
    ),
    _question("/credentials/by_name/{credential_name:path}", "One of them"),
    _question("/credentials/by_model/{model_id}", "The credential in a deployment's own entry"),
    _change(
        "/credentials/{credential_name:path}",
        "Change a credential",
        _body(CREDENTIAL),
        seals=VALUES,
        name="PATCH /credentials/{credential_name}",
        method="PATCH",
    ),
    _change(
        "/credentials/{credential_name:path}",
        "Take away a credential that no model names",
        None,
        name="DELETE /credentials/{credential_name}",
        method="DELETE",
    ),
)

_RULES = (
    _question("/get/allowed_ips", "Addresses that may call", answer=OBJECT),
    _change("/add/allowed_ip", "Let an address, or a range, call", _body(None, "ip", ip=_STRING)),
    _change(
        "/delete/allowed_ip", "Take an address, or a range, from those that may call", _body(None, "ip", ip=_STRING)
    ),
    Route(
        name="/policy/explain",
        methods=("POST",),
        paths=("/policy/explain",),
        surface="management",
        groups=frozenset({"own_routes"}),
        summary="Whether a request would be allowed, and by which rule",
        request=_body(
            None,
            key=_STRING,
            route=_STRING,
            method=_STRING,
            model=_STRING,
            user=_STRING,
            ip=_STRING,
            body={"type": "object"},
        ),
        answer=OBJECT,
    ),
)

ROWS = (*_KEYS, *_TEAMS, *_CALLBACKS, *_USERS, *_CUSTOMERS, *_ORGANIZATIONS, *_MODELS, *_RULES)
