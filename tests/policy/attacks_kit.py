"""Two organisations with their teams, people and keys, and commands by whoever tries for more than
they were given.
"""

from typing import Any

from services.policy.routes import MATRIX, may_call
from shared import routes
from shared.entities import Organization, Project, Team, User
from shared.facts import Caller
from tests.policy.world import World, digest, key

FRESH = {"token": digest("fresh"), "key_name": "sk-...cdef"}
PLAIN = "internal_user"


def world() -> World:
    return World(
        Organization(organization_id="o", members=[{"user_id": "org-admin", "user_role": "org_admin"}]),
        Organization(organization_id="other", members=[{"user_id": "victim", "user_role": "org_admin"}]),
        Team(
            team_id="t",
            organization_id="o",
            members_with_roles=[{"role": "admin", "user_id": "boss"}, {"role": "user", "user_id": "member"}],
        ),
        Team(team_id="foreign", organization_id="other", members_with_roles=[{"role": "admin", "user_id": "victim"}]),
        Project(project_id="nobodys"),
        Project(project_id="foreign", team_id="foreign"),
        User(user_id="root", user_role="proxy_admin", user_email="root@example.com", metadata={"secret": "of root"}),
        User(user_id="watcher", user_role="proxy_admin_viewer"),
        User(user_id="victim", user_email="victim@example.com", metadata={"secret": "of victim"}, models=["gpt"]),
        *(User(user_id=name) for name in ("boss", "member", "org-admin")),
        key("team", team_id="t", user_id="member", key_alias="of-team"),
        key("service", team_id="t", created_by="former", key_alias="service"),
        key("own", user_id="member", key_alias="own"),
        key("foreign", team_id="foreign", user_id="victim", key_alias="foreign"),
        key("root", user_id="root"),
    )


def by(w: World, user_id: str, route: str, body: dict[str, Any] | None = None, **more: Any) -> Any:
    role = "org_admin" if user_id == "org-admin" else PLAIN
    row = routes.named(route)
    assert row is not None and may_call(row, MATRIX[role])
    return w.call(route, body, actor=Caller(user_id=user_id, role=role), **more)
