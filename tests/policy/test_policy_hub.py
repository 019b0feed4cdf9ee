"""The public model hub: what was made public, by file or at run time, and nothing that isn't."""

from typing import Any

from services.policy.catalog import Catalog, build
from services.policy.commands import run
from services.policy.directory import Directory
from services.policy.plan import Call, Plan
from shared import config
from shared.billing import Price
from shared.entities import Setting
from shared.facts import Caller, ControlFact

ADMIN = Caller(user_id="default_user_id", role="proxy_admin")


def catalog(*public: str, entries: list[dict[str, Any]] | None = None) -> Catalog:
    models = entries or [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_key": "sk-secret-000", "api_base": "http://internal"},
        }
        for name in ("a", "a", "b", "c")
    ]
    tree: dict[str, Any] = {"model_list": models, "litellm_settings": {"public_model_groups": list(public)}}
    import json

    return build(config.parse(json.dumps(tree), {}), lambda provider, model: Price(1_000_000, 2_000_000))


def call(route: str, catalog: Catalog, directory: Directory, body: dict[str, Any] | None = None, **query: str) -> Call:
    return Call(directory, query, body or {}, ADMIN, 1_000, lambda: "id", catalog, route)


def shown(catalog: Catalog, directory: Directory) -> list[dict[str, Any]]:
    plan = run(call("/public/model_hub", catalog, directory))
    assert isinstance(plan, Plan)
    return plan.answer


def test_what_the_file_names_is_shown_without_anything_of_the_inside() -> None:
    rows = shown(catalog("a", "b", "gone"), Directory())
    assert [row["model_group"] for row in rows] == ["a", "b"]
    assert rows[0]["providers"] == ["openai"]
    assert (rows[0]["input_cost_per_token"], rows[0]["output_cost_per_token"]) == (1e-6, 2e-6)
    assert rows[0]["is_public_model_group"] is True
    assert "secret" not in str(rows) and "internal" not in str(rows)
    assert shown(catalog(), Directory()) == []


def test_what_an_admin_says_wins_over_the_file() -> None:
    directory, known = Directory(), catalog("a")
    plan = run(call("/model_group/make_public", known, directory, {"model_groups": ["c", "b", "c"]}))
    assert isinstance(plan, Plan)
    (change,) = plan.changes
    assert (change.kind, change.entity_id, change.action, change.expected_seq) == (
        "setting",
        "public_model_groups",
        "created",
        0,
    )
    fact = ControlFact("1", 1, "setting", "public_model_groups", "created", ADMIN, None, change.after)
    directory.apply(change.subject, fact, 1)
    assert [row["model_group"] for row in shown(known, directory)] == ["c", "b"]
    assert isinstance(directory.settings["public_model_groups"], Setting)
    again = run(call("/model_group/make_public", known, directory, {"model_groups": []}))
    assert isinstance(again, Plan)
    assert (again.changes[0].action, again.changes[0].expected_seq) == ("updated", 1)


def test_what_is_no_list_of_our_models_is_refused() -> None:
    for wrong in (None, "a", ["nobody"], [1], {"a": 1}):
        refusal = run(call("/model_group/make_public", catalog(), Directory(), {"model_groups": wrong}))
        assert not isinstance(refusal, Plan) and (refusal.status, refusal.param) in (
            (400, "model_groups"),
            (400, "model_groups[0]"),
        ), wrong


def test_pages() -> None:
    plan = run(call("/public/v1/model_hub", catalog("a", "b", "c"), Directory(), page="2", size="2"))
    assert isinstance(plan, Plan)
    assert [row["model_group"] for row in plan.answer["data"]] == ["c"]
    assert (plan.answer["total_count"], plan.answer["total_pages"]) == (3, 2)


def test_rows_say_what_model_info_says_of_features_and_nothing_else_of_it() -> None:
    def entry(**info: Any) -> dict[str, Any]:
        params = {"model": "openai/a", "api_key": "sk-secret-000", "api_base": "http://internal", "rpm": 10}
        return {"model_name": "a", "litellm_params": params, "model_info": {"note": "internal", **info}}

    entries = [
        entry(id="1", max_input_tokens=8_000, max_output_tokens=1_000, mode="chat", supports_vision=True),
        entry(id="2", max_input_tokens=128_000, max_output_tokens="much", supports_pdf_input=True,
              supported_openai_params=["tools", 5]),
    ]  # fmt: skip
    made = catalog("a", entries=entries)
    (row,) = shown(made, Directory())
    assert (row["max_input_tokens"], row["max_output_tokens"], row["mode"], row["rpm"]) == (128_000, 1_000, "chat", 20)
    assert row["supports_vision"] and row["supports_pdf_input"] and row["supports_reasoning"] is False
    assert row["supported_openai_params"] == ["tools"] and "internal" not in str(row)
    plan = run(call("/model_group/info", made, Directory()))
    assert isinstance(plan, Plan)
    said = {name: value for name, value in row.items() if not name.startswith(("health_", "is_public"))}
    assert plan.answer["data"] == [said], "both say the same of it"


def test_a_known_models_context_window_is_shown_unless_the_file_says_another() -> None:
    def entry(name: str, **info: int) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}, "model_info": info}

    rows = shown(catalog("known", "said", entries=[entry("known"), entry("said", max_input_tokens=9)]), Directory())
    assert [row["max_input_tokens"] for row in rows] == [128_000, 9]
