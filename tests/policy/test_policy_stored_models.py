"""Models and credentials added by API: what is kept of them, who may add them, and what they do to
decisions at once.
"""

from typing import Any

import pytest

from services.policy.app import shown
from shared import config, subjects
from shared.entities import Team
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Denial, Grant
from shared.requests import ShownRequest
from tests.policy.world import CONFIG, MASTER_KEY, OF_ALL, World, key, secret

TEXT = CONFIG + "  store_model_in_db: true\n"
SEALED = ["key-id", "d3JhcHBlZA==", "ZGF0YQ=="]
INTERNAL = Caller(user_id="u", role="internal_user")
VIEWER = Caller(user_id="v", role="proxy_admin_viewer")


def world(text: str = TEXT, **more: Any) -> World:
    return World(key("a"), text=text, **more)


def added(world: World, name: str = "new", **params: Any) -> dict[str, Any]:
    body = {"model_name": name, "litellm_params": {"model": "openai/gpt-4o", **params}, "sealed": {"api_key": SEALED}}
    row = world.call("/model/new", body)
    assert isinstance(row, dict), row
    return row


def served(world: World, model: str) -> list[str]:
    decision = world.decide(secret("a"), model=model)
    return [each.deployment_id for each in decision.candidates] if isinstance(decision, Grant) else []


def test_added_changed_blocked_and_taken_away() -> None:
    here = world()
    before = here.decide(secret("a"), model="new")
    assert isinstance(before, Denial) and before.refusal.code == "unknown_model"
    assert before.depends_on[1:] == list(OF_ALL), "the denial must end when the model is added"
    row = added(here, rpm=5)
    model_id = row["model_id"]
    assert row["litellm_params"] == {"model": "openai/gpt-4o", "rpm": 5, "api_key": "********"}
    assert row["model_info"] == {"id": model_id} and row["created_by"] == "default_user_id" and row["blocked"] is False
    grant = here.decide(secret("a"), model="new")
    assert isinstance(grant, Grant) and grant.depends_on[1:] == list(OF_ALL)
    (candidate,) = grant.candidates
    assert (candidate.deployment_id, candidate.provider, candidate.rpm) == (model_id, "openai", 5)
    assert candidate.revision == here.seq and candidate.price is not None

    changed = here.call(
        "/model/{model_id}/update",
        {"litellm_params": {"model": "groq/llama", "rpm": None, "api_key": "********"}, "model_info": {"mode": "chat"}},
        params={"model_id": model_id},
    )
    assert changed["litellm_params"] == {"model": "groq/llama", "api_key": "********"}, "the key stayed, rpm went"
    assert changed["model_info"] == {"mode": "chat", "id": model_id}
    (candidate,) = here.catalog.candidates("new")
    assert (candidate.provider, candidate.rpm, candidate.revision) == ("groq", None, here.seq)
    older = here.call("/model/update", {"litellm_params": {"rpm": 7, "model": None}, "model_info": {"id": model_id}})
    assert older["litellm_params"]["rpm"] == 7 and older["litellm_params"]["model"] == "groq/llama"

    assert here.call("/model/block", {"model_id": model_id})["blocked"] is True
    refused = here.decide(secret("a"), model="new")
    assert isinstance(refused, Denial) and "blocked" in refused.refusal.message
    here.call("/model/unblock", {"model_id": model_id})
    assert served(here, "new") == [model_id]
    assert here.call("/model/delete", {"id": model_id}) == {"message": f"Model: {model_id} deleted successfully"}
    assert served(here, "new") == [] and not here.catalog.left_out and not here.catalog.revisions
    assert [(f.kind, f.action) for f in here.facts] == [
        ("model", each) for each in ("created", "updated", "updated", "blocked", "unblocked", "deleted")
    ]


def test_no_secret_is_in_an_answer_and_a_fact_has_it_sealed() -> None:
    here = world()
    row = added(here)
    assert here.facts[0].after is not None and here.facts[0].after["sealed"] == {"api_key": SEALED}
    for route, query in (
        ("/model/info", {}),
        ("/model/info", {"litellm_model_id": row["model_id"]}),
        ("/model_group/info", {}),
    ):
        assert SEALED[2] not in str(here.call(route, query=query))


def test_it_joins_the_group_of_the_files_and_its_patterns() -> None:
    here = world(
        TEXT.replace(
            "model_list:", "model_list:\n  - model_name: any/*\n    litellm_params: {model: openai/*, api_key: k}"
        )
    )
    of_file = served(here, "gpt")
    one, two = added(here, "gpt")["model_id"], added(here, "gpt")["model_id"]
    assert served(here, "gpt") == [*of_file, one, two]
    star = added(here, "any/*", model="groq/*")["model_id"]
    assert served(here, "any/llama")[1:] == [star]
    assert here.catalog.candidates("any/llama")[1].upstream_model == "llama"
    wide = added(here, "*", model="openrouter/*")["model_id"]
    assert served(here, "whatever") == [wide]
    here.call("/model/delete", {"id": star})
    here.call("/model/delete", {"id": wide})
    here.call("/model/delete", {"id": one})
    assert (
        served(here, "gpt") == [*of_file, two]
        and len(served(here, "any/llama")) == 1
        and served(here, "whatever") == []
    )


def test_access_groups_fallbacks_and_lists_know_it_at_once() -> None:
    text = TEXT + "router_settings: {fallbacks: [{gpt: [new]}], model_group_alias: {alias: new}}\n"
    here = World(key("a"), key("g", models=["beta"]), text=text)
    assert not here.catalog.fallbacks("gpt")
    here.call(
        "/model/new",
        {"model_name": "new", "litellm_params": {"model": "openai/gpt-4o"}, "model_info": {"access_groups": ["beta"]}},
    )
    grant = here.decide(secret("a"), model="gpt")
    assert isinstance(grant, Grant) and [each.model for each in grant.fallbacks] == ["new"]
    assert isinstance(here.decide(secret("g"), model="new"), Grant)
    listed = here.decide(secret("a"), "/models")
    assert (
        isinstance(listed, Grant) and {"new", "alias"} <= set(listed.models) and listed.depends_on[1:] == list(OF_ALL)
    )


def test_who_may_and_where_it_is_off() -> None:
    body = {"model_name": "x", "litellm_params": {"model": "openai/gpt-4o"}}
    here = world()
    for actor in (INTERNAL, VIEWER):
        refused = here.call("/model/new", body, actor=actor)
        assert isinstance(refused, Refusal) and refused.status == 403
        assert isinstance(
            here.call("POST /credentials", {"credential_name": "c", "credential_values": {}}, actor=actor), Refusal
        )
    off = world(CONFIG)
    refused = off.call("/model/new", body)
    assert isinstance(refused, Refusal) and "STORE_MODEL_IN_DB" in refused.message and not off.facts
    assert config.parse(CONFIG, {"STORE_MODEL_IN_DB": "True"}).stored_models.on


def test_off_means_that_none_is_served() -> None:
    on = world()
    row = added(on)
    off = World(key("a"), text=CONFIG)
    off.fold("model", row["model_id"], on.facts[0].after)
    assert (
        served(off, "new") == [] and off.call("/model/info")["data"] == World(text=CONFIG).call("/model/info")["data"]
    )


WRONG = {
    "no name": ({"model_name": ""}, "model_name"),
    "no parameters": ({"litellm_params": None}, "litellm_params"),
    "no model": ({"litellm_params": {"api_key": "x"}}, "litellm_params"),
    "unknown provider": ({"litellm_params": {"model": "nobody-knows-this"}}, "litellm_params"),
    "of the environment": ({"litellm_params": {"model": "openai/os", "api_base": "os.environ/DATABASE_URL"}}, "config.yaml"),
    "of a shell": ({"litellm_params": {"model": "openai/${HOME}"}}, "config.yaml"),
    "no address": ({"litellm_params": {"model": "openai/x", "api_base": "ftp://x"}}, "api_base"),
    "password in it": ({"litellm_params": {"model": "openai/x", "api_base": "https://u:p@x"}}, "api_base"),
    "a file of the machine's": ({"litellm_params": {"model": "openai/x", "ssl_verify": "/etc/ssl/x"}}, "ssl_verify"),
    "the machine's profile": ({"litellm_params": {"model": "bedrock/x", "aws_profile_name": "root"}}, "aws_profile_name"),
    "the machine's role": ({"litellm_params": {"model": "bedrock/x", "aws_role_name": "arn:aws:iam::1:role/x"}}, "aws_role_name"),
    "our identity elsewhere": ({"litellm_params": {"model": "bedrock/x", "api_base": "https://evil.example"}}, "evil.example"),
    "our token elsewhere": (
        {"litellm_params": {"model": "vertex_ai/gemini", "vertex_project": "p", "api_base": "https://evil.example"}},
        "evil.example",
    ),
    "a host in a region": ({"litellm_params": {"model": "vertex_ai/g", "vertex_location": "evil.example/"}}, "vertex_location"),
    "unknown credential": ({"litellm_params": {"model": "openai/x", "litellm_credential_name": "gone"}}, "gone"),
    "a mask": ({"litellm_params": {"model": "openai/x", "api_key": "********"}}, "litellm_params"),
    "the file's id": ({"model_info": {"id": "of-the-file"}}, "already exists"),
    "a team's": ({"model_info": {"team_id": "t"}}, "team_id"),
    "two stars": ({"model_name": "a*b*"}, "star"),
    "odd retries": ({"litellm_params": {"model": "openai/x", "num_retries": "many"}}, "num_retries"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_changes_nothing(name: str) -> None:
    changed, said = WRONG[name]
    entry = (
        "model_list:\n  - {model_name: f, litellm_params: {model: openai/f, api_key: k}, model_info: {id: of-the-file}}"
    )
    here = world(TEXT.replace("model_list:", entry))
    refused = here.call("/model/new", {"model_name": "x", "litellm_params": {"model": "openai/gpt-4o"}, **changed})
    assert isinstance(refused, Refusal) and refused.status == 400, refused
    assert said in f"{refused.message} {refused.param}" and not here.facts


def test_trusted_models_may_do_what_the_file_may() -> None:
    here = world(TEXT + "  trust_stored_models: true\n", environ={"BASE": "https://inside.example/v1"})
    row = added(here, api_base="os.environ/BASE", aws_profile_name="root")
    (deployment,) = [here.catalog.deployments[row["model_id"]]]
    assert deployment.api_base == "https://inside.example/v1"


def test_the_files_own_are_not_changed_by_api() -> None:
    here = world()
    of_file = served(here, "gpt")[0]
    for call in (
        lambda: here.call("/model/{model_id}/update", {"litellm_params": {}}, params={"model_id": of_file}),
        lambda: here.call("/model/delete", {"id": of_file}),
    ):
        refused = call()
        assert isinstance(refused, Refusal) and refused.status == 400 and "config" in refused.message
    gone = here.call("/model/{model_id}/update", {}, params={"model_id": "nobody"})
    assert isinstance(gone, Refusal) and gone.status == 404


CREDENTIAL = {
    "credential_name": "azure",
    "credential_values": {"api_base": "https://acme.openai.azure.com", "api_version": "2024-10-21"},
    "sealed": {"api_key": SEALED},
    "credential_info": {"description": "of Acme"},
}


def test_credentials_are_named_by_models_and_changed_under_them() -> None:
    here = world()
    assert here.call("POST /credentials", CREDENTIAL) == {"success": True, "message": "Credential created successfully"}
    (shown_,) = here.call("/credentials")["credentials"]
    assert shown_["credential_values"] == {**CREDENTIAL["credential_values"], "api_key": "********"}
    row = here.call(
        "/model/new", {"model_name": "x", "litellm_params": {"model": "azure/gpt", "litellm_credential_name": "azure"}}
    )
    made = here.catalog.deployments[row["model_id"]]
    assert made.api_base == "https://acme.openai.azure.com"
    patched = here.call(
        "PATCH /credentials/{credential_name}",
        {"credential_values": {"api_base": "https://other.openai.azure.com"}},
        params={"credential_name": "azure"},
    )
    assert patched["success"] is True
    assert here.catalog.deployments[row["model_id"]].api_base == "https://other.openai.azure.com"
    assert here.catalog.candidates("x")[0].revision == here.seq, "edges must ask before they call with the old one"
    assert (
        here.call("/credentials/by_name/{credential_name:path}", params={"credential_name": "azure"})["source"] == "db"
    )
    in_use = here.call("DELETE /credentials/{credential_name}", params={"credential_name": "azure"})
    assert isinstance(in_use, Refusal) and "used by 1 models" in in_use.message
    here.call("/model/delete", {"id": row["model_id"]})
    assert here.call("DELETE /credentials/{credential_name}", params={"credential_name": "azure"})["success"] is True
    gone = here.call("DELETE /credentials/{credential_name}", params={"credential_name": "azure"})
    assert isinstance(gone, Refusal) and gone.status == 404
    again = here.call("POST /credentials", {**CREDENTIAL, "credential_values": {"api_base": "os.environ/X"}})
    assert isinstance(again, Refusal) and again.status == 400


def test_an_entry_of_the_file_waits_for_its_credential() -> None:
    text = (
        "model_list:\n  - {model_name: later, litellm_params: {model: azure/gpt, litellm_credential_name: azure}}\n"
        f"general_settings: {{master_key: {MASTER_KEY}}}\n"
    )
    here = World(key("a"), text=text)
    refused = here.decide(secret("a"), model="later")
    assert isinstance(refused, Denial) and "no credential 'azure'" in refused.refusal.message
    here.call("POST /credentials", CREDENTIAL)
    (candidate,) = here.catalog.candidates("later")
    assert candidate.revision == here.seq
    here.call("DELETE /credentials/{credential_name}", params={"credential_name": "azure"})
    assert here.catalog.candidates("later") == [] and "azure" in here.catalog.left_out["later"]


def test_a_waiting_entry_of_one_team_is_that_teams_alone_once_it_is_served() -> None:
    text = TEXT.replace(
        "model_list:\n",
        "model_list:\n  - model_name: later\n    litellm_params: {model: azure/gpt-4o, litellm_credential_name: azure}\n"
        "    model_info: {team_id: t, team_public_model_name: ours}\n",
    )
    here = World(key("a", team_id="t"), key("b", team_id="u"), Team(team_id="t"), Team(team_id="u"), text=text)
    here.call("POST /credentials", CREDENTIAL)
    for name in ("later", "ours"):
        assert isinstance(here.decide(secret("a"), model=name), Grant)
        assert isinstance(here.decide(secret("b"), model=name), Denial), name
    here.call("DELETE /credentials/{credential_name}", params={"credential_name": "azure"})
    assert not here.catalog.owners and "ours" not in here.catalog.models


def test_the_files_credentials_are_shown_masked_and_kept() -> None:
    text = (
        TEXT
        + "credential_list:\n  - {credential_name: own, credential_values: {api_key: sk-very-secret, api_base: 'https://x.example'}}\n"
    )
    here = world(text)
    (row,) = here.call("/credentials")["credentials"]
    assert (
        row["credential_values"] == {"api_key": "********", "api_base": "https://x.example"}
        and row["source"] == "config"
    )
    for route in ("PATCH /credentials/{credential_name}", "DELETE /credentials/{credential_name}"):
        refused = here.call(route, {}, params={"credential_name": "own"})
        assert isinstance(refused, Refusal) and "config" in refused.message
    made = here.call(
        "/model/new", {"model_name": "m", "litellm_params": {"model": "openai/x", "litellm_credential_name": "own"}}
    )
    assert here.catalog.deployments[made["model_id"]].api_base == "https://x.example"


def test_two_replicas_agree_whatever_they_saw_first() -> None:
    """One folded history, the other only the last fact of each subject, in any order."""
    old = world()
    rows = [added(old, "gpt") for _ in range(4)]
    old.call("/model/{model_id}/update", {"litellm_params": {"rpm": 3}}, params={"model_id": rows[0]["model_id"]})
    old.call("/model/delete", {"id": rows[2]["model_id"]})
    last = {fact.entity_id: fact for fact in old.facts}
    young = world()
    for fact in sorted(last.values(), key=lambda fact: fact.entity_id, reverse=True):
        young.fold(fact.kind, fact.entity_id, fact.after)
    assert served(young, "gpt") == served(old, "gpt")
    young.directory.clear()
    assert young.catalog.models == World(text=TEXT).catalog.models and not young.catalog.revisions


def test_edges_get_pages_that_fit_and_one_by_its_subject() -> None:
    here = world()
    for number in range(60):
        here.call(
            "/model/new",
            {
                "model_name": "big",
                "litellm_params": {"model": "openai/x"},
                "model_info": {"id": f"id {number:02}", "note": "n" * 20_000},
            },
        )
    found: list[str] = []
    after, pages = "", 0
    while True:
        page = shown(here.directory, ShownRequest("model", after=after), here.seq)
        pages += 1
        found += [each["model_id"] for each in page.entities]
        assert len(page.seqs) == len(page.entities)
        after = page.more_after
        if not after:
            break
    assert found == sorted(here.directory.tables["model"]) and pages > 1
    token = subjects.control("model", "id 07").rpartition(".")[2]
    one = shown(here.directory, ShownRequest("model", only=token), here.seq)
    assert [each["model_id"] for each in one.entities] == ["id 07"] and one.seqs == [9]
    assert shown(here.directory, ShownRequest("model", only="nobody"), here.seq).entities == []
    some = shown(here.directory, ShownRequest("model", ids=["id 09", "id 02", "nobody"]), here.seq)
    assert [each["model_id"] for each in some.entities] == ["id 02", "id 09"]
