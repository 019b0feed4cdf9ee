"""One good call of every management route, in one world, and the control facts it must leave: what
tests walk the table of routes with.

A new management route is a row here.
"""

from typing import Any

import msgspec

from services.policy.decide import MASTER
from shared.entities import (
    Budget,
    Credential,
    Customer,
    Invitation,
    JwtMapping,
    Model,
    Organization,
    PassThrough,
    Project,
    Setting,
    Tag,
    Team,
    User,
    mapping_id,
)
from tests.policy.world import NOW, World, digest, key

_PARAMS = {"model": "openai/gpt-4o"}
SEALED = ["key-id", "d3JhcHBlZA==", "ZGF0YQ=="]
MINTED = {"token": digest("fresh"), "key_name": "sk-...cdef"}
LOGGED = {"logging": [{"callback_name": "langfuse", "callback_type": "success", "callback_vars": {}}]}
MAPPED = mapping_id(None, "azp", "robot")
BOSS, MEMBER, OWNER, ORG_ADMIN = "boss", "member", "owner", "org-admin"


def world(**more: Any) -> World:
    """An organisation with a team, a project, keys and people; a customer; an endpoint."""
    members = [{"user_id": ORG_ADMIN, "user_role": "org_admin"}, {"user_id": MEMBER, "user_role": "internal_user"}]
    foreign = [{"user_id": "other-admin", "user_role": "org_admin"}]
    roles = [{"role": "admin", "user_id": BOSS}, {"role": "user", "user_id": MEMBER}]
    roles.append({"role": "user", "user_id": str(MASTER.user_id)})
    return World(
        Organization(organization_id="o", members=members),
        Organization(organization_id="empty"),
        Organization(organization_id="elsewhere", members=foreign),
        Team(
            team_id="t",
            team_alias="Team",
            organization_id="o",
            members_with_roles=roles,
            models=["gpt", "mini"],
            metadata=LOGGED,
        ),
        Project(project_id="p", team_id="t"),
        User(user_id=MEMBER, user_email="member@example.com", teams=["t"]),
        User(user_id=OWNER, user_email="owner@example.com"),
        key("a", key_alias="alias-a", team_id="t", user_id=OWNER),
        key("b", user_id=OWNER),
        Customer(user_id="c"),
        Model(
            model_id="s",
            model_name="stored",
            litellm_params=_PARAMS,
            sealed={"api_key": SEALED},
            model_info={"access_groups": ["some"]},
        ),
        Model(model_id="s2", model_name="second", litellm_params=_PARAMS, sealed={"api_key": SEALED}),
        Invitation(id=digest("b"), user_id=MEMBER, expires_at_ms=NOW + 1),
        Budget(budget_id="b", max_budget_picousd=10**12),
        Tag(name="said"),
        JwtMapping(id=MAPPED, jwt_claim_name="azp", jwt_claim_value="robot", token=digest("b")),
        Setting(name="public_routes", value=["/health"]),
        Credential(credential_name="kept", credential_values={"api_version": "1"}),
        PassThrough(id="e", given={"path": "/there", "target": "https://example.com/there"}),
        **more,
    )


class Sample(msgspec.Struct, frozen=True):
    body: dict[str, Any] = {}
    query: dict[str, str] = {}
    params: dict[str, str] = {}
    facts: list[tuple[str, str, str]] = []
    """(kind, entity id, action) in order; an id of `*` is one that the call made up."""


A, B, FRESH = digest("a"), digest("b"), digest("fresh")
_PROJECT = {"project_id": "p"}
_ORGANIZATION = {"organization_id": "o"}

SAMPLES: dict[str, Sample] = {
    "/key/generate": Sample(
        {**MINTED, "key_alias": "new", "team_id": "t"}, facts=[("key", FRESH, "created"), ("alias", "new", "created")]
    ),
    "/key/service-account/generate": Sample(
        {**MINTED, "key_alias": "robot", "team_id": "t"},
        facts=[("key", FRESH, "created"), ("alias", "robot", "created")],
    ),
    "/key/bulk_update": Sample(
        {"keys": [{"key": A, "metadata": {"x": 1}}, {"key": B, "key_alias": "b"}]},
        facts=[("key", A, "updated"), ("key", B, "updated"), ("alias", "b", "created")],
    ),
    "/key/update": Sample({"key": A, "metadata": {"x": 1}}, facts=[("key", A, "updated")]),
    "/key/delete": Sample({"keys": [A]}, facts=[("key", A, "deleted"), ("alias", "alias-a", "deleted")]),
    "/key/block": Sample({"key": A}, facts=[("key", A, "blocked")]),
    "/key/unblock": Sample({"key": A}, facts=[("key", A, "unblocked")]),
    "/key/regenerate": Sample(
        {**MINTED, "key": A},
        facts=[("key", FRESH, "rotated"), ("key", A, "deleted"), ("alias", "alias-a", "updated")],
    ),
    "/key/{key_id}/reset_spend": Sample({"reset_to": 0}, params={"key": A}, facts=[("key", A, "spend_reset")]),
    "/key/health": Sample(),
    "/key/info": Sample(query={"key": A}),
    "/v2/key/info": Sample({"keys": [A, B]}),
    "/key/list": Sample(query={"size": "10", "sort_by": "key_alias", "sort_order": "asc"}),
    "/key/aliases": Sample(query={"search": "alias"}),
    "/team/new": Sample({"team_id": "new", "organization_id": "o"}, facts=[("team", "new", "created")]),
    "/team/update": Sample({"team_id": "t", "metadata": {"x": 1}}, facts=[("team", "t", "updated")]),
    "PATCH /team/{team_id}": Sample({"metadata": {"x": 1}}, params={"team_id": "t"}, facts=[("team", "t", "updated")]),
    "/team/key/bulk_update": Sample(
        {"team_id": "t", "all_keys_in_team": True, "update_fields": {"metadata": {"x": 1}}},
        facts=[("key", A, "updated")],
    ),
    "/team/permissions_bulk_update": Sample(
        {"team_ids": ["t"], "permissions": ["/key/update"]}, facts=[("team", "t", "updated")]
    ),
    "/team/delete": Sample(
        {"team_ids": ["t"]},
        facts=[
            ("key", A, "deleted"),
            ("alias", "alias-a", "deleted"),
            ("user", "member", "updated"),
            ("team", "t", "deleted"),
        ],
    ),
    "/team/block": Sample({"team_id": "t"}, facts=[("team", "t", "blocked")]),
    "/team/unblock": Sample({"team_id": "t"}, facts=[("team", "t", "unblocked")]),
    "/team/info": Sample(query={"team_id": "t"}),
    "/team/list": Sample(),
    "/v2/team/list": Sample(query={"page": "1"}),
    "/team/available": Sample(),
    "/team/member_add": Sample(
        {"team_id": "t", "member": {"role": "user", "user_id": OWNER}},
        facts=[("user", OWNER, "updated"), ("team", "t", "updated")],
    ),
    "/team/bulk_member_add": Sample(
        {"team_id": "t", "members": [{"role": "user", "user_id": OWNER}, {"role": "user", "user_id": MEMBER}]},
        facts=[("user", OWNER, "updated"), ("team", "t", "updated")],
    ),
    "/team/member_update": Sample(
        {"team_id": "t", "user_id": MEMBER, "role": "admin"}, facts=[("team", "t", "updated")]
    ),
    "/team/member_delete": Sample(
        {"team_id": "t", "user_id": MEMBER}, facts=[("user", MEMBER, "updated"), ("team", "t", "updated")]
    ),
    "/team/{team_id}/members/me": Sample(params={"team_id": "t"}),
    "/team/{team_id}/member/{user_id}/reset_spend": Sample(
        {"reset_to": 0}, params={"team_id": "t", "user_id": MEMBER}, facts=[("team", "t", "spend_reset")]
    ),
    "/team/{team_id}/member/{user_id}/reset_budget": Sample(
        params={"team_id": "t", "user_id": MEMBER}, facts=[("team", "t", "updated")]
    ),
    "/team/model/add": Sample({"team_id": "t", "models": ["free"]}, facts=[("team", "t", "updated")]),
    "/team/model/delete": Sample({"team_id": "t", "models": ["mini"]}, facts=[("team", "t", "updated")]),
    "/team/{team_id}/callback": Sample(params={"team_id": "t"}),
    "POST /team/{team_id}/callback": Sample(
        {"callback_name": "langfuse", "callback_type": "failure"},
        params={"team_id": "t"},
        facts=[("team", "t", "updated")],
    ),
    "/team/{team_id}/callback/{callback_name}": Sample(
        params={"team_id": "t", "callback_name": "langfuse"}, facts=[("team", "t", "updated")]
    ),
    "/team/{team_id}/disable_logging": Sample(params={"team_id": "t"}, facts=[("team", "t", "updated")]),
    "/team/permissions_list": Sample(query={"team_id": "t"}),
    "/team/permissions_update": Sample(
        {"team_id": "t", "team_member_permissions": ["/key/generate"]}, facts=[("team", "t", "updated")]
    ),
    "/user/new": Sample(
        {**MINTED, "user_id": "new", "teams": ["t"], "organizations": ["o"]},
        facts=[
            ("user", "new", "created"),
            ("team", "t", "updated"),
            ("organization", "o", "updated"),
            ("key", FRESH, "created"),
        ],
    ),
    "/user/update": Sample({"user_id": MEMBER, "user_alias": "M"}, facts=[("user", MEMBER, "updated")]),
    "/user/bulk_update": Sample(
        {"users": [{"user_id": MEMBER, "user_alias": "M"}, {"user_id": "nobody"}]}, facts=[("user", MEMBER, "updated")]
    ),
    "/user/delete": Sample(
        {"user_ids": [MEMBER]},
        facts=[
            ("invitation", B, "deleted"),
            ("user", MEMBER, "deleted"),
            ("organization", "o", "updated"),
            ("team", "t", "updated"),
        ],
    ),
    "/user/info": Sample(query={"user_id": MEMBER}),
    "/v2/user/info": Sample(query={"user_id": MEMBER}),
    "/user/list": Sample(query={"page_size": "10"}),
    "/invitation/new": Sample(
        {**MINTED, "user_id": MEMBER},
        facts=[("invitation", B, "deleted"), ("invitation", FRESH, "created")],
    ),
    "/invitation/info": Sample(query={"invitation_id": B}),
    "/invitation/update": Sample({"invitation_id": B, "is_accepted": True}, facts=[("invitation", B, "updated")]),
    "/invitation/delete": Sample({"invitation_id": B}, facts=[("invitation", B, "deleted")]),
    "/user/available_roles": Sample(),
    "/customer/new": Sample({"user_id": "new"}, facts=[("customer", "new", "created")]),
    "/customer/update": Sample({"user_id": "c", "alias": "C"}, facts=[("customer", "c", "updated")]),
    "/customer/delete": Sample({"user_ids": ["c"]}, facts=[("customer", "c", "deleted")]),
    "/customer/block": Sample(
        {"user_ids": ["c", "new"]}, facts=[("customer", "c", "blocked"), ("customer", "new", "blocked")]
    ),
    "/customer/unblock": Sample({"user_ids": ["c"]}, facts=[("customer", "c", "unblocked")]),
    "/customer/info": Sample(query={"end_user_id": "c"}),
    "/customer/list": Sample(),
    "/organization/new": Sample({"organization_id": "new"}, facts=[("organization", "new", "created")]),
    "/organization/update": Sample({**_ORGANIZATION, "models": ["gpt"]}, facts=[("organization", "o", "updated")]),
    "/organization/delete": Sample({"organization_ids": ["empty"]}, facts=[("organization", "empty", "deleted")]),
    "/organization/info": Sample(query=_ORGANIZATION),
    "POST /organization/info": Sample({"organizations": [_ORGANIZATION["organization_id"]]}),
    "/organization/list": Sample(),
    "/organization/member_add": Sample(
        {**_ORGANIZATION, "member": {"user_id": OWNER}}, facts=[("organization", "o", "updated")]
    ),
    "/organization/member_update": Sample(
        {**_ORGANIZATION, "user_id": MEMBER, "role": "internal_user_viewer"}, facts=[("organization", "o", "updated")]
    ),
    "/organization/member_delete": Sample(
        {**_ORGANIZATION, "user_id": MEMBER}, facts=[("organization", "o", "updated")]
    ),
    "/project/new": Sample({"project_id": "new", "team_id": "t"}, facts=[("project", "new", "created")]),
    "/project/update": Sample({**_PROJECT, "tags": ["x"]}, facts=[("project", "p", "updated")]),
    "/project/delete": Sample({"project_ids": ["p"]}, facts=[("project", "p", "deleted")]),
    "/project/info": Sample(query=_PROJECT),
    "/project/list": Sample(),
    "/jwt/key/mapping/new": Sample(
        {"jwt_claim_name": "azp", "jwt_claim_value": "client", "key": A, "jwt_issuer": "https://idp"},
        facts=[("jwt_mapping", mapping_id("https://idp", "azp", "client"), "created")],
    ),
    "/jwt/key/mapping/update": Sample(
        {"id": MAPPED, "key": B, "is_active": False}, facts=[("jwt_mapping", MAPPED, "updated")]
    ),
    "/jwt/key/mapping/delete": Sample({"id": MAPPED}, facts=[("jwt_mapping", MAPPED, "deleted")]),
    "/jwt/key/mapping/info": Sample(query={"id": MAPPED}),
    "/jwt/key/mapping/list": Sample(query={"size": "5"}),
    "/user/filter/ui": Sample(query={"search": "MEMB"}),
    "/team/filter/ui": Sample(query={"team_alias": "tea"}),
    "/budget/new": Sample({"budget_id": "new", "max_budget": 1}, facts=[("budget", "new", "created")]),
    "/budget/update": Sample({"budget_id": "b", "max_budget": None}, facts=[("budget", "b", "updated")]),
    "/budget/delete": Sample({"id": "b"}, facts=[("budget", "b", "deleted")]),
    "/budget/info": Sample({"budgets": ["b"]}),
    "/budget/list": Sample(),
    "/budget/settings": Sample(query={"budget_id": "b"}),
    "/tag/new": Sample({"name": "new tag", "models": ["s"]}, facts=[("tag", "new tag", "created")]),
    "/tag/update": Sample({"name": "said", "description": "x"}, facts=[("tag", "said", "updated")]),
    "/tag/delete": Sample({"name": "said"}, facts=[("tag", "said", "deleted")]),
    "/model/info": Sample(),
    "/model_group/info": Sample(),
    "/v2/model/info": Sample(query={"search": "g"}),
    "/access_group/new": Sample({"access_group": "new", "model_names": ["stored"]}, facts=[("model", "s", "updated")]),
    "/access_group/list": Sample(),
    "/access_group/{access_group}/info": Sample(params={"access_group": "some"}),
    "/access_group/{access_group}/update": Sample(
        {"model_ids": ["s2"]},
        params={"access_group": "some"},
        facts=[("model", "s", "updated"), ("model", "s2", "updated")],
    ),
    "/access_group/{access_group}/delete": Sample(params={"access_group": "some"}, facts=[("model", "s", "updated")]),
    "/model/new": Sample(
        {"model_name": "m", "litellm_params": _PARAMS, "sealed": {"api_key": SEALED}}, facts=[("model", "*", "created")]
    ),
    "/model/update": Sample(
        {"litellm_params": {"rpm": 1}, "model_info": {"id": "s"}}, facts=[("model", "s", "updated")]
    ),
    "/model/{model_id}/update": Sample(
        {"litellm_params": {"rpm": 1}}, params={"model_id": "s"}, facts=[("model", "s", "updated")]
    ),
    "/model/delete": Sample({"id": "s"}, facts=[("model", "s", "deleted")]),
    "/model/block": Sample({"model_id": "s"}, facts=[("model", "s", "blocked")]),
    "/model/unblock": Sample({"model_id": "s"}, facts=[("model", "s", "unblocked")]),
    "/credentials": Sample(),
    "POST /credentials": Sample(
        {"credential_name": "new", "credential_values": {"api_version": "1"}, "sealed": {"api_key": SEALED}},
        facts=[("credential", "new", "created")],
    ),
    "/credentials/by_name/{credential_name:path}": Sample(params={"credential_name": "kept"}),
    "/credentials/by_model/{model_id}": Sample(params={"model_id": "s"}),
    "PATCH /credentials/{credential_name}": Sample(
        {"credential_info": {"x": 1}}, params={"credential_name": "kept"}, facts=[("credential", "kept", "updated")]
    ),
    "DELETE /credentials/{credential_name}": Sample(
        params={"credential_name": "kept"}, facts=[("credential", "kept", "deleted")]
    ),
    "/get/allowed_ips": Sample(),
    "/add/allowed_ip": Sample({"ip": "10.0.0.1"}, facts=[("setting", "allowed_ips", "created")]),
    "/delete/allowed_ip": Sample({"ip": "10.0.0.9"}, facts=[("setting", "allowed_ips", "created")]),
    "/provider/budgets": Sample(),
    "/alerting/settings": Sample(),
    "/config/list": Sample(query={"config_type": "general_settings"}),
    "/config/field/info": Sample(query={"field_name": "allowed_ips"}),
    "/config/field/update": Sample(
        {"field_name": "enforced_params", "field_value": ["user"], "config_type": "general_settings"},
        facts=[("setting", "enforced_params", "created")],
    ),
    "/config/field/delete": Sample(
        {"field_name": "public_routes", "config_type": "general_settings"},
        facts=[("setting", "public_routes", "deleted")],
    ),
    "/config/update": Sample(
        {"general_settings": {"enforced_params": ["user"], "admin_only_routes": ["/team/new"]}},
        facts=[("setting", "enforced_params", "created"), ("setting", "admin_only_routes", "created")],
    ),
    "/callbacks/list": Sample(),
    "/get/config/callbacks": Sample(),
    "/policy/explain": Sample({"key": A, "model": "gpt"}),
    "/public/model_hub": Sample(),
    "/public/v1/model_hub": Sample(),
    "/model_group/make_public": Sample(
        {"model_groups": ["gpt"]}, facts=[("setting", "public_model_groups", "created")]
    ),
    "/callbacks/configs": Sample(),
    "/public/v1/model_hub/providers": Sample(),
    "/public/v1/model_hub/modes": Sample(),
    "/public/v1/model_hub/features": Sample(),
    "/config/pass_through_endpoint/team/{team_id}": Sample(params={"team_id": "t"}),
    "/config/pass_through_endpoint": Sample(),
    "POST /config/pass_through_endpoint": Sample(
        {"path": "/here", "target": "https://example.com/here"}, facts=[("pass_through", "*", "created")]
    ),
    "DELETE /config/pass_through_endpoint": Sample(
        query={"endpoint_id": "e"}, facts=[("pass_through", "e", "deleted")]
    ),
    "/config/pass_through_endpoint/{endpoint_id}": Sample(
        {"target": "https://example.com/elsewhere"},
        params={"endpoint_id": "e"},
        facts=[("pass_through", "e", "updated")],
    ),
}
_STORES = "general_settings:\n  store_model_in_db: true\n"
TEXT = {
    **{name: _STORES for name in SAMPLES if name.startswith(("/model/", "/access_group/")) and name != "/model/info"},
    **dict.fromkeys(
        ("/delete/allowed_ip", "/config/field/info"), "general_settings:\n  allowed_ips: [10.0.0.9, 10.0.0.1]\n"
    ),
}
"""What the configuration must say besides."""
