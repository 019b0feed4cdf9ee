"""A question that came with claims: who that is, by the directory as it stands. Pure."""

import json
from typing import Any

from services.policy import user_defaults
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.identity import own
from services.policy.identity.claims import resolve
from services.policy.identity.principal import Known, NotLetIn, Principal, Question, Upsert
from services.policy.model_access import lets
from shared import errors
from shared.entities import USER
from shared.identity import own as identities
from shared.requests import DecideRequest


def principal(directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int) -> Principal | NotLetIn:
    """Raises nothing: an asker that verified a token sends claims that can be read, and what it
    sends otherwise is refused.
    """
    if (request.key_sha256 or "").startswith(identities.LABEL):
        if catalog.own_auth:
            return own.principal(directory, request.claims)
        return NotLetIn(errors.own_auth_refused(), [])
    auth = catalog.jwt
    if auth is None:
        return NotLetIn(errors.not_a_virtual_key(), [])
    try:
        claims = json.loads(request.claims)
        if not isinstance(claims, dict) or not isinstance(claims["exp"], int | float):
            raise ValueError
    except (ValueError, KeyError, RecursionError):
        return NotLetIn(errors.token_refused("claims", "the claims can't be read"), [])
    return resolve(
        auth, Question(claims, request.route, request.model, request.team_id), _known(directory, catalog), now_ms
    )


def missing(directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int) -> list[Upsert]:
    """The teams and users that a token is the first to name and that the rules say are to be made,
    or that follow it.
    """
    found = principal(directory, catalog, request, now_ms)
    return found.upserts if isinstance(found, Principal) else []


def _known(directory: Directory, catalog: Catalog) -> Known:
    def find(kind: str, entity_id: str) -> Any:
        return directory.tables[kind].get(entity_id)

    return Known(
        find=find,
        teams_by_alias=lambda alias: [team for team in directory.teams.values() if team.team_alias == alias],
        teams_of_user=lambda user_id: [team for team in directory.teams.values() if team.role_of(user_id) is not None],
        stands_for=directory.stands_for,
        completed=lambda user: USER.merge(user, user_defaults.completed(catalog, {})).entity,
        new_user_teams=catalog.new_user_teams,
        organization_by_alias=lambda alias: next(
            (
                each.organization_id
                for each in directory.tables["organization"].values()
                if each.organization_alias == alias
            ),
            None,
        ),
        may_use=lambda team, model: lets(team, model, catalog),
    )
