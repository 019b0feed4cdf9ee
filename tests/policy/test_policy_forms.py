"""What forms and filters are made from: sinks and their variables, facets of the hub, a team's
endpoints.
"""

import pytest

from services.policy.commands.callback_forms import PREFIXES
from shared.config import callbacks
from shared.entities import PassThrough, Team
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import CONFIG, World


def test_each_sink_says_what_it_needs() -> None:
    forms = {each["id"]: each for each in World().call("/callbacks/configs")}
    assert set(forms) == callbacks.SENT
    assert (
        {name for name, each in forms.items() if each["supports_key_team_logging"]}
        == set(callbacks.NEEDED)
        == set(PREFIXES)
    )
    langfuse = forms["langfuse"]["dynamic_params"]
    assert langfuse["langfuse_secret_key"] == {"type": "password", "ui_name": "Langfuse Secret Key", "required": True}
    assert langfuse["langfuse_host"]["type"] == "text" and not langfuse["langfuse_host"]["required"]
    for name in callbacks.NEEDED:
        needed = {each: "x" for each, said in forms[name]["dynamic_params"].items() if said["required"]}
        assert callbacks.lacks(name, needed) == "", "whoever fills in what is required can send"
    assert forms["s3_v2"]["dynamic_params"] == {}


@pytest.mark.parametrize(
    ("facet", "values"), [("providers", ["groq", "openai"]), ("modes", ["chat"]), ("features", ["supports_vision"])]
)
def test_facets_of_the_hub_are_those_of_public_models(facet: str, values: list[str]) -> None:
    of_gpt = "{model: openai/gpt-4o, api_key: k}\n"
    text = CONFIG.replace(of_gpt, of_gpt + "    model_info: {mode: chat, supports_vision: true}\n", 1)
    w = World(text=text)
    path = f"/public/v1/model_hub/{facet}"
    assert w.call(path)["data"] == []
    w.call("/model_group/make_public", {"model_groups": ["gpt"]})
    assert w.call(path, actor=Caller(role="internal_user_viewer"))["data"] == values
    page = w.call(path, query={"size": "1", "page": "1"})
    assert (page["data"], page["has_more"]) == (values[:1], len(values) > 1)


def test_a_teams_endpoints_are_those_it_may_call() -> None:
    w = World(
        PassThrough(id="a", given={"path": "/a", "target": "https://example.com"}),
        PassThrough(id="b", given={"path": "/b", "target": "https://example.com"}),
        Team(team_id="t", metadata={"allowed_passthrough_routes": ["/a", "/b"], "denied_passthrough_routes": ["/b"]}),
        Team(team_id="none"),
    )
    route = "/config/pass_through_endpoint/team/{team_id}"
    assert [each["id"] for each in w.call(route, params={"team_id": "t"})["endpoints"]] == ["a"]
    assert w.call(route, params={"team_id": "none"}) == {"endpoints": []}
    missing = w.call(route, params={"team_id": "x"})
    assert isinstance(missing, Refusal) and missing.status == 404
