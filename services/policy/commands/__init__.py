"""Management calls, as pure functions: what a call would change and what it would answer, or why
not.

Owns: LiteLLM's request and response shapes of what policy keeps, and the rules of a valid entity.
Takes in: a `Call` (directory, query, body, actor, one instant, a source of ids).
Gives out: a `Plan` (changes in the order they must land, and the answer), or a Refusal.
Never: publishes, waits, reads a clock, or changes the directory (its fold does, when the fact comes
back).
"""

from services.policy.commands import (
    access_groups,
    addresses,
    budgets,
    bulk,
    callback_forms,
    callbacks,
    configuration,
    credentials,
    customers,
    explain,
    filters,
    hub,
    invitations,
    jwt_mappings,
    key_queries,
    keys,
    members,
    models,
    organizations,
    pass_through,
    rotation,
    sessions,
    spending,
    stored_models,
    tags,
    teams,
    user_lists,
    users,
)
from services.policy.commands.generic import Command
from services.policy.plan import Call, Plan
from shared import errors
from shared.entities.readers import checked
from shared.errors import Refusal, RefusedError

COMMANDS: dict[str, Command] = {
    "/key/generate": keys.generate,
    "/key/update": keys.update,
    "/key/service-account/generate": keys.generate_service_account,
    "/key/bulk_update": bulk.update_keys,
    "/key/delete": keys.delete,
    "/key/block": keys.block,
    "/key/unblock": keys.unblock,
    "/key/regenerate": rotation.regenerate,
    "/key/{key_id}/reset_spend": keys.reset_spend,
    "/key/health": key_queries.health,
    "/key/info": key_queries.info,
    "/v2/key/info": key_queries.infos,
    "/key/list": key_queries.list_keys,
    "/key/aliases": key_queries.list_aliases,
    "/team/new": teams.new,
    "/team/update": teams.update,
    "PATCH /team/{team_id}": teams.patch,
    "/team/delete": teams.delete,
    "/team/key/bulk_update": bulk.update_team_keys,
    "/team/permissions_bulk_update": bulk.update_permissions,
    "/team/block": teams.block,
    "/team/unblock": teams.unblock,
    "/team/info": teams.info,
    "/team/list": teams.list_teams,
    "/v2/team/list": teams.list_page,
    "/team/available": teams.available,
    "/team/member_add": members.add,
    "/team/bulk_member_add": bulk.add_members,
    "/team/member_update": members.update,
    "/team/member_delete": members.delete,
    "/team/{team_id}/members/me": members.me,
    "/team/{team_id}/member/{user_id}/reset_spend": members.reset_spend,
    "/team/{team_id}/member/{user_id}/reset_budget": members.reset_budget,
    "/team/model/add": teams.model_add,
    "/team/model/delete": teams.model_delete,
    "/team/permissions_list": teams.permissions_list,
    "/team/permissions_update": teams.permissions_update,
    "/team/{team_id}/callback": callbacks.show,
    "POST /team/{team_id}/callback": callbacks.add,
    "/team/{team_id}/callback/{callback_name}": callbacks.delete,
    "/team/{team_id}/disable_logging": callbacks.disable,
    "/user/new": users.new,
    "/user/update": users.update,
    "/user/bulk_update": bulk.update_users,
    "/user/delete": users.delete,
    "/user/info": users.info,
    "/v2/user/info": users.info_v2,
    "/user/list": user_lists.list_users,
    "/user/filter/ui": filters.users,
    "/team/filter/ui": filters.teams,
    "/user/available_roles": users.available_roles,
    "/customer/new": customers.new,
    "/customer/update": customers.update,
    "/customer/delete": customers.delete,
    "/customer/block": customers.block,
    "/customer/unblock": customers.unblock,
    "/customer/info": customers.info,
    "/customer/list": customers.list_customers,
    "/provider/budgets": spending.provider_budgets,
    "/alerting/settings": configuration.alerting,
    "/config/list": configuration.list_fields,
    "/config/field/info": configuration.field_info,
    "/config/field/update": configuration.update_field,
    "/config/field/delete": configuration.delete_field,
    "/config/update": configuration.update,
    "/callbacks/configs": callback_forms.configs,
    "/callbacks/list": configuration.list_callbacks,
    "/get/config/callbacks": configuration.config_callbacks,
    "/config/pass_through_endpoint": pass_through.shown,
    "POST /config/pass_through_endpoint": pass_through.new,
    "/config/pass_through_endpoint/team/{team_id}": pass_through.of_team,
    "DELETE /config/pass_through_endpoint": pass_through.delete,
    "/config/pass_through_endpoint/{endpoint_id}": pass_through.update,
    "/model_group/make_public": hub.make_public,
    "/public/model_hub": hub.hub,
    "/public/v1/model_hub": hub.hub_page,
    "/public/v1/model_hub/providers": hub.providers,
    "/public/v1/model_hub/modes": hub.modes,
    "/public/v1/model_hub/features": hub.features,
    "/budget/new": budgets.new,
    "/budget/update": budgets.update,
    "/budget/delete": budgets.delete,
    "/budget/info": budgets.info,
    "/budget/list": budgets.list_budgets,
    "/budget/settings": budgets.settings,
    "/jwt/key/mapping/new": jwt_mappings.new,
    "/jwt/key/mapping/update": jwt_mappings.update,
    "/jwt/key/mapping/delete": jwt_mappings.delete,
    "/jwt/key/mapping/info": jwt_mappings.info,
    "/jwt/key/mapping/list": jwt_mappings.list_mappings,
    "/invitation/new": invitations.new,
    "/invitation/info": invitations.info,
    "/invitation/update": invitations.update,
    "/invitation/delete": invitations.delete,
    "/tag/new": tags.new,
    "/tag/update": tags.update,
    "/tag/delete": tags.delete,
    "/organization/new": organizations.new_organization,
    "/organization/update": organizations.update_organization,
    "/organization/delete": organizations.delete_organizations,
    "/organization/info": organizations.organization_info,
    "POST /organization/info": organizations.organization_infos,
    "/organization/list": organizations.list_organizations,
    "/organization/member_add": organizations.add_member,
    "/organization/member_update": organizations.update_member,
    "/organization/member_delete": organizations.delete_member,
    "/project/new": organizations.new_project,
    "/project/update": organizations.update_project,
    "/project/delete": organizations.delete_projects,
    "/project/info": organizations.project_info,
    "/project/list": organizations.list_projects,
    "/model/info": models.model_info,
    "/model_group/info": models.group_info,
    "/v2/model/info": models.model_page,
    "/access_group/new": access_groups.new,
    "/access_group/list": access_groups.list_groups,
    "/access_group/{access_group}/info": access_groups.info,
    "/access_group/{access_group}/update": access_groups.update,
    "/access_group/{access_group}/delete": access_groups.delete,
    "/model/new": stored_models.new,
    "/model/update": stored_models.update,
    "/model/{model_id}/update": stored_models.patch,
    "/model/delete": stored_models.delete,
    "/model/block": stored_models.block,
    "/model/unblock": stored_models.unblock,
    "/credentials": credentials.shown,
    "POST /credentials": credentials.new,
    "/credentials/by_name/{credential_name:path}": credentials.by_name,
    "/credentials/by_model/{model_id}": credentials.by_model,
    "PATCH /credentials/{credential_name}": credentials.update,
    "DELETE /credentials/{credential_name}": credentials.delete,
    "/get/allowed_ips": addresses.get,
    "/add/allowed_ip": addresses.add,
    "/delete/allowed_ip": addresses.delete,
    "/policy/explain": explain.explain,
}
"""Each route and what it means. Whether the actor may call it was decided before (`routes.py`)."""


VOUCHED: dict[str, Command] = {**sessions.VOUCHED, **invitations.VOUCHED}
"""For which the edge itself vouches; no route leads to them."""


def run_vouched(call: Call) -> Plan | Refusal:
    """A command that no route leads to. Never raises for what was sent."""
    return _run(VOUCHED.get(call.route), call)


def run_own(command: Command, call: Call) -> Plan | Refusal:
    """A command that policy itself gives."""
    return _run(command, call)


def run(call: Call) -> Plan | Refusal:
    """Run one command. Never raises for what a caller sent; Wanted where it must know more of the
    book.
    """
    return _run(COMMANDS.get(call.route), call)


def _run(command: Command | None, call: Call) -> Plan | Refusal:
    if command is None:
        return errors.route_not_allowed(call.route)
    try:
        checked(call.body)
        return command(call)
    except RefusedError as refused:
        return refused.refusal
