"""Runs in an environment with litellm: `python litellm_client_calls.py BASE_URL KEY`. LiteLLM's own
client, unchanged; what it got, as JSON.
"""

import json
import sys

from litellm.proxy.client import Client
from litellm.proxy.client.exceptions import UnauthorizedError
from litellm.proxy.client.health import HealthManagementClient
from litellm.proxy.client.users import UsersManagementClient

base, key = sys.argv[1:3]
client = Client(base_url=base, api_key=key)
users = UsersManagementClient(base_url=base, api_key=key)
got = {}

got["team"] = client.http.request("POST", "/team/new", json={"team_alias": "clients", "models": ["mock"]})
team_id = got["team"]["team_id"]
got["teams"] = client.teams.list()
got["teams_v2"] = client.teams.list_v2(team_alias="CLIENT", sort_by="team_alias", sort_order="desc", page_size=5)
got["available"] = client.teams.get_available()
got["user"] = users.create_user(
    {"user_id": "clients-user", "user_email": "c@example.com", "user_role": "internal_user"}
)
got["users"] = users.list_users({"page": 1, "page_size": 10})
got["user_info"] = users.get_user("clients-user")
got["user_info_v2"] = users.get_user_v2("clients-user")
got["key"] = client.keys.generate(
    models=["mock"],
    aliases={"nick": "mock"},
    duration="1h",
    key_alias="client-key",
    team_id=team_id,
    user_id="clients-user",
    config={},
    spend=0.0,
)
made = got["key"]["key"]
got["info"] = client.keys.info(key=made)
got["list"] = client.keys.list(page=1, size=5, team_id=team_id, return_full_object=True, include_team_keys=True)
got["updated"] = client.keys.update(key=made, key_alias="client-key-2", models=["mock"], duration="2h")
own = Client(base_url=base, api_key=made)
got["models"] = own.models.list()
got["chat"] = own.chat.completions(model="nick", messages=[{"role": "user", "content": "hi"}])
got["stream"] = list(own.chat.completions_stream(model="mock", messages=[{"role": "user", "content": "hi"}]))[:1]
try:
    own.keys.generate(team_id="somebody-elses")
    got["refused"] = None
except Exception as error:
    got["refused"] = type(error).__name__
got["credential"] = client.credentials.create(
    "c1", {"custom_llm_provider": "openai"}, {"api_key": "sk-upstream-canary"}
)
got["credentials"] = client.credentials.list()
got["credential_got"] = client.credentials.get("c1")
got["model"] = client.models.new(
    "stored", {"model": "openai/x", "api_key": "sk-upstream-canary", "mock_response": "x"}, {"id": "stored-1"}
)
got["model_info"] = client.models.info()
got["model_get"] = client.models.get(model_id="stored-1")
got["model_updated"] = client.models.update("stored-1", {"model": "openai/y", "mock_response": "y"}, {"id": "stored-1"})
got["model_deleted"] = client.models.delete("stored-1")
got["credential_deleted"] = client.credentials.delete("c1")
got["groups"] = client.model_groups.info()
got["health"] = HealthManagementClient(base_url=base, api_key=key).get_readiness()
got["deleted"] = client.keys.delete(keys=[made])
got["user_deleted"] = users.delete_user(["clients-user"])
try:
    Client(base_url=base, api_key=made).keys.list()
    got["after"] = None
except UnauthorizedError:
    got["after"] = "unauthorized"
print("RESULT " + json.dumps(got, default=str))
