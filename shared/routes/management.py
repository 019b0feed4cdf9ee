"""Keys, teams and everything else that policy owns. Each row's command is in
services/policy/commands.
"""

from typing import Any

from shared.entities import CREDENTIAL, JWT_MAPPING, KEY, MODEL, TEAM
from shared.routes.forms import CURSOR, ID, OBJECT, OBJECTS, PAGE, STRING, STRINGS, body, change, question
from shared.routes.route import Parameter, Route

_KEY = Parameter("key", "The key, or its SHA-256; without it the caller's own")
_TEAM_ID = Parameter("team_id", "Without it the caller's own")
_KEY_FILTERS = tuple(
    Parameter(name)
    for name in (
        "user_id", "team_id", "organization_id", "project_id", "agent_id", "access_group_id", "tag", "key_hash", "key_alias", "search", "status",
        "expires", "sort_by", "sort_order", "expand",
    )
)  # fmt: skip
_KEY_FLAGS = (
    *(
        Parameter(name, type="boolean")
        for name in ("return_full_object", "include_team_keys", "include_created_by_keys", "substring_matching")
    ),
    Parameter("sessions", "Sign-ins to the admin page, which are left out otherwise", type="boolean"),
)
_ONE_KEY = body(None, key=STRING, key_alias=STRING)
_ONE_TEAM = body(None, "team_id", team_id=STRING)
_MEMBER = body(None, "team_id", team_id=STRING, user_id=STRING, user_email=STRING, role=STRING)
_DURATION = {"type": ["string", "null"], "description": "30s, 30m, 30h, 30d, 1w, 1mo"}

_KEYS = (
    change("/key/generate", "Make a virtual key", body(KEY, key=STRING, duration=_DURATION), mints="key"),
    change("/key/update", "Change a key", body(KEY, key=STRING, duration=_DURATION)),
    change(
        "/key/service-account/generate",
        "Make a key for a service account of a team",
        body(KEY, "team_id", "key_alias", key=STRING, duration=_DURATION),
        mints="key",
    ),
    change(
        "/key/bulk_update",
        "Change several keys; each stands or falls by itself",
        body(None, "keys", keys={"type": "array", "items": body(KEY, key=STRING, duration=_DURATION), "minItems": 1}),
    ),
    change("/key/delete", "Delete keys", body(None, keys=STRINGS, key_aliases=STRINGS)),
    change("/key/block", "Block a key", _ONE_KEY),
    change("/key/unblock", "Unblock a key", _ONE_KEY),
    change(
        "/key/regenerate",
        "Give a key another secret; with grace_period the old one lives on for a while",
        body(KEY, key=STRING, new_key=STRING, grace_period=_DURATION, duration=_DURATION),
        "/key/{key:path}/regenerate",
        mints="new_key",
    ),
    change(
        "/key/{key:path}/reset_spend",
        "Have a key count as having spent so much",
        body(None, "reset_to", reset_to={"type": "number"}),
        name="/key/{key_id}/reset_spend",
    ),
    Route(
        name="/key/health",
        methods=("POST",),
        paths=("/key/health",),
        surface="management",
        summary="Whether the caller's key has all that it needs to send its calls where it says",
        answer=OBJECT,
    ),
    question("/key/info", "One key", _KEY),
    Route(
        name="/v2/key/info",
        methods=("POST",),
        paths=("/v2/key/info",),
        surface="management",
        summary="Several keys",
        request=body(None, "keys", keys=STRINGS),
        answer=OBJECT,
    ),
    question("/key/list", "The keys that the caller may see", *PAGE, CURSOR, *_KEY_FILTERS, *_KEY_FLAGS),
    question(
        "/key/aliases",
        "The names of the keys that the caller may see",
        *PAGE,
        Parameter("search"),
        Parameter("team_id"),
    ),
)

_TEAMS = (
    change("/team/new", "Make a team", body(TEAM, team_id=STRING)),
    Route(
        name="/team/update",
        methods=("POST",),
        paths=("/team/update",),
        surface="management",
        mutates=True,
        summary="Change a team",
        request=body(TEAM, "team_id", team_id=STRING),
        answer=OBJECT,
    ),
    change(
        "/team/{team_id}",
        "Change a team",
        body(TEAM),
        name="PATCH /team/{team_id}",
        method="PATCH",
    ),
    change(
        "/team/key/bulk_update",
        "Change several keys of a team in one way",
        body(
            None,
            "team_id",
            "update_fields",
            team_id=STRING,
            key_ids={"type": ["array", "null"], "items": STRING},
            all_keys_in_team={"type": ["boolean", "null"]},
            update_fields=OBJECT,
        ),
    ),
    change(
        "/team/permissions_bulk_update",
        "Let plain members of several teams do more with the teams' keys",
        body(
            None,
            "permissions",
            permissions=STRINGS,
            team_ids={"type": ["array", "null"], "items": STRING},
            apply_to_all_teams={"type": ["boolean", "null"]},
        ),
    ),
    change("/team/delete", "Delete teams, and their keys", body(None, "team_ids", team_ids=STRINGS)),
    change("/team/block", "Block a team", _ONE_TEAM),
    change("/team/unblock", "Unblock a team", _ONE_TEAM),
    question("/team/info", "One team", _TEAM_ID, Parameter("key_limit", type="integer")),
    question(
        "/team/list",
        "The teams that the caller may see",
        Parameter("user_id"),
        Parameter("organization_id"),
        answer=OBJECTS,
    ),
    question(
        "/v2/team/list",
        "The teams that the caller may see, a page at a time",
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        CURSOR,
        Parameter("user_id"),
        Parameter("organization_id"),
        Parameter("team_id"),
        Parameter("team_alias"),
        Parameter("search", "A part of the name or the id"),
        Parameter("sort_by"),
        Parameter("sort_order"),
    ),
    question(
        "/team/filter/ui",
        "The teams that the caller may see, by a part of the id or the name",
        Parameter("team_id"),
        Parameter("team_alias"),
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        answer=OBJECTS,
    ),
    question("/team/available", "Teams that the caller may join by themselves", answer=OBJECTS),
    change("/team/member_add", "Add members to a team", body(None, "team_id", "member", team_id=STRING, member={})),
    change(
        "/team/bulk_member_add",
        "Add many members to a team; who can't be added keeps nobody else out",
        body(
            None,
            "team_id",
            team_id=STRING,
            members={"type": "array"},
            all_users={"type": ["boolean", "null"]},
            role=STRING,
        ),
    ),
    change("/team/member_update", "Change a member of a team", _MEMBER),
    change("/team/member_delete", "Take a member out of a team", _MEMBER),
    change(
        "/team/{team_id}/member/{user_id}/reset_spend",
        "Have a member of a team count as having spent so much there",
        body(None, "reset_to", reset_to={"type": "number"}),
    ),
    change("/team/{team_id}/member/{user_id}/reset_budget", "Give a member of a team the team's limits again", OBJECT),
    question("/team/{team_id}/members/me", "What the caller is in a team, and has spent there"),
    change("/team/model/add", "Let a team use more models", body(None, "team_id", team_id=STRING, models=STRINGS)),
    change("/team/model/delete", "Take models from a team", body(None, "team_id", team_id=STRING, models=STRINGS)),
    question("/team/permissions_list", "What plain members may do with the team's keys", _TEAM_ID),
    change(
        "/team/permissions_update",
        "Set what plain members may do with the team's keys",
        body(None, "team_id", team_id=STRING, team_member_permissions={"type": "array", "items": STRING}),
    ),
)

_CALLBACK = "/team/{team_id:path}/callback"
_CALLBACK_BODY = body(
    None, "callback_name", callback_name=STRING, callback_type=STRING, callback_vars={"type": "object"}
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

PARAMS, VALUES = "litellm_params", "credential_values"

_NAMES = {"type": ["array", "null"], "items": STRING}
_GROUP = body(None, access_group=STRING, model_names=_NAMES, model_ids=_NAMES)
_MODELS = (
    question(
        "/model/info",
        "Deployments of the models that the caller may use",
        Parameter("litellm_model_id"),
        also=("/v1/model/info",),
    ),
    question(
        "/v2/model/info",
        "The same, a page at a time",
        *PAGE,
        Parameter("litellm_model_id"),
        Parameter("modelId", "The same"),
        Parameter("model"),
        Parameter("search", "A part of the name"),
        Parameter("teamId"),
        Parameter("access_group"),
        Parameter("sortBy"),
        Parameter("sortOrder"),
    ),
    change("/access_group/new", "Give several models a name", _GROUP),
    question("/access_group/list", "Names of several models"),
    question("/access_group/{access_group}/info", "One of them"),
    change("/access_group/{access_group}/update", "Say what has the name", _GROUP, method="PUT"),
    change("/access_group/{access_group}/delete", "Take the name from all of them", None, method="DELETE"),
    question("/model_group/info", "The models that the caller may use", Parameter("model_group")),
    change("/model/new", "Add a deployment of a model", body(MODEL, "model_name", PARAMS), seals=PARAMS),
    change("/model/update", "Change a deployment that was added", body(MODEL, "model_info"), seals=PARAMS),
    change("/model/{model_id}/update", "Change a deployment that was added", body(MODEL), seals=PARAMS, method="PATCH"),
    change("/model/delete", "Take away a deployment that was added", ID),
    change("/model/block", "Send no call to a deployment that was added", body(None, "model_id", model_id=STRING)),
    change("/model/unblock", "Send calls to it again", body(None, "model_id", model_id=STRING)),
    question("/credentials", "Credentials of providers, without their secrets"),
    change(
        "/credentials",
        "Add a credential for models to name",
        body(CREDENTIAL, "credential_name", VALUES, credential_name=STRING),
        seals=VALUES,
        name="POST /credentials",
    ),
    question("/credentials/by_name/{credential_name:path}", "One of them"),
    question("/credentials/by_model/{model_id}", "The credential in a deployment's own entry"),
    change(
        "/credentials/{credential_name:path}",
        "Change a credential",
        body(CREDENTIAL),
        seals=VALUES,
        name="PATCH /credentials/{credential_name}",
        method="PATCH",
    ),
    change(
        "/credentials/{credential_name:path}",
        "Take away a credential that no model names",
        None,
        name="DELETE /credentials/{credential_name}",
        method="DELETE",
    ),
)

_RULES = (
    question("/get/allowed_ips", "Addresses that may call", answer=OBJECT),
    change("/add/allowed_ip", "Let an address, or a range, call", body(None, "ip", ip=STRING)),
    question("/provider/budgets", "What providers may spend, and have spent"),
    question("/alerting/settings", "What alerts go by", answer=OBJECTS),
    question(
        "/config/list",
        "What general_settings say, and who says so",
        Parameter("config_type", "general_settings", required=True),
        answer=OBJECTS,
    ),
    question("/config/field/info", "One of them", Parameter("field_name", required=True)),
    change(
        "/config/field/update",
        "Set one of them while the gateway runs: it wins over the file",
        body(None, "field_name", "field_value", "config_type", field_name=STRING, field_value={}, config_type=STRING),
    ),
    change(
        "/config/field/delete",
        "Let the file say it again",
        body(None, "field_name", "config_type", field_name=STRING, config_type=STRING),
    ),
    change("/config/update", "Set several of them", body(None, "general_settings", general_settings=OBJECT)),
    question("/callbacks/configs", "Where calls of a key or team can be sent, and what that needs", answer=OBJECTS),
    question("/callbacks/list", "Where calls are sent, by the configuration"),
    question("/get/config/callbacks", "The same, one row each"),
    change("/delete/allowed_ip", "Take an address, or a range, from those that may call", body(None, "ip", ip=STRING)),
    Route(
        name="/policy/explain",
        methods=("POST",),
        paths=("/policy/explain",),
        surface="management",
        groups=frozenset({"own_routes"}),
        summary="Whether a request would be allowed, and by which rule",
        request=body(
            None,
            key=STRING,
            route=STRING,
            method=STRING,
            model=STRING,
            user=STRING,
            ip=STRING,
            body={"type": "object"},
        ),
        answer=OBJECT,
    ),
)

_MAPPED = {"key": STRING, "token": STRING}
_MAPPINGS = (
    change(
        "/jwt/key/mapping/new",
        "Have a claim of tokens stand for a key",
        body(JWT_MAPPING, "jwt_claim_name", "jwt_claim_value", **_MAPPED),
    ),
    change("/jwt/key/mapping/update", "Change the key, or turn it off", body(JWT_MAPPING, "id", id=STRING, **_MAPPED)),
    change("/jwt/key/mapping/delete", "Have a claim stand for no key", ID),
    question("/jwt/key/mapping/info", "One of them", Parameter("id", required=True)),
    question("/jwt/key/mapping/list", "Which claims stand for keys", *PAGE),
)

ROWS = (*_MAPPINGS, *_KEYS, *_TEAMS, *_CALLBACKS, *_MODELS, *_RULES)
