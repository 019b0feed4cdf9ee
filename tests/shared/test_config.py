"""LiteLLM's config.yaml: read as it is, refused with a sentence that says where, and never told to
anybody.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.config import Config, ConfigError, Secret, load, parse

ENVIRON = {"OPENAI_API_KEY": "sk-canary-provider", "MASTER": "sk-canary-master", "DB": "postgresql://u:canary-db@h/d"}

EXAMPLE = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o-2024-08-06
      api_key: os.environ/OPENAI_API_KEY
      rpm: 10
  - model_name: gpt-4o
    litellm_params: {model: azure/my-deployment, api_base: "https://x.example/v1/", api_key: sk-canary-written, weight: 2, timeout: 1.5}
    model_info: {id: second, base_model: azure/gpt-4o}
  - model_name: fake
    litellm_params: {model: gpt-3.5-turbo, mock_response: hi, input_cost_per_token: 0.0000015, output_cost_per_token: 2e-06}
litellm_settings: {callbacks: [banned_keywords], surprising: 1}
general_settings: {master_key: os.environ/MASTER, database_url: os.environ/DB}
router_settings: {routing_strategy: simple-shuffle}
unheard_of: {}
"""


GOOD = '{"model_name": "good", "litellm_params": {"model": "openai/m", "mock_response": "hi"}}'


def settled(**params: Any) -> str:
    return json.dumps({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/m", **params}}]})


def test_the_example_is_read_as_it_is() -> None:
    config = parse(EXAMPLE, ENVIRON)
    first, second, third = config.deployments
    assert (first.provider, first.upstream_model, first.api_base) == (
        "openai", "gpt-4o-2024-08-06", "https://api.openai.com/v1",
    )  # fmt: skip
    assert first.api_key is not None and first.api_key.reveal() == "sk-canary-provider"
    assert (second.id, second.base_model, second.api_base, second.weight, second.timeout_ms) == (
        "second", "azure/gpt-4o", "https://x.example/v1", 2.0, 1500,
    )  # fmt: skip
    assert (third.provider, third.upstream_model, third.mock_response, third.api_base) == (
        "openai",
        "gpt-3.5-turbo",
        "hi",
        "",
    )
    assert third.price is not None
    assert (third.price.input_picousd, third.price.output_picousd, third.price.source) == (
        1_500_000,
        2_000_000,
        "config",
    )
    assert first.price is None and third.api_key is None
    assert config.model_names == ["gpt-4o", "fake"]
    assert config.master_key is not None and config.master_key.reveal() == "sk-canary-master"
    assert config.database_url is not None and config.database_url.reveal() == ENVIRON["DB"]
    assert "database_url" not in config.general_settings and "master_key" not in config.general_settings


def test_what_is_not_used_is_named() -> None:
    assert parse(EXAMPLE, ENVIRON).warnings == [
        "unheard_of: unknown section, ignored",
        "litellm_settings.surprising: not used",
    ]


def test_secrets_show_nowhere() -> None:
    config = parse(EXAMPLE, ENVIRON)
    assert "canary" not in repr(config) + str(config) + f"{config!r:s}" + "".join(map(repr, config.deployments))
    secret = Secret("canary")
    assert (repr(secret), str(secret), f"{secret}", bool(secret), bool(Secret(""))) == (
        "Secret(***)", "Secret(***)", "Secret(***)", True, False,
    )  # fmt: skip
    with pytest.raises(TypeError):
        json.dumps({"a": secret})


def test_references_reach_everywhere() -> None:
    config = parse(
        """
environment_variables: {FROM_FILE: here, PORT: 8080}
litellm_settings: {callbacks: [os.environ/FROM_FILE],
  banned_keywords_list: os.environ/NOT_SET}
model_list: [{model_name: m, litellm_params: {model: os.environ/MODEL, api_base: os.environ/BASE,
  extra_headers: {x-a: os.environ/PORT, x-b: os.environ/NO}}}]
""",
        {"MODEL": "openai/x", "BASE": "http://h/v1"},
    )
    assert config.litellm_settings == {"callbacks": ["here"], "banned_keywords_list": None}
    (deployment,) = config.deployments
    assert (deployment.upstream_model, deployment.api_base, deployment.extra_headers) == (
        "x",
        "http://h/v1",
        {"x-a": "8080"},
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", r"config\.yaml line \d: not valid YAML"),
        ("ok: 1\nb: {", r"config\.yaml line \d: not valid YAML"),
        ("a: \x00", r"config\.yaml: not valid YAML"),
        ("a: !!int ''", r"config\.yaml: not valid YAML"),
        ("a: " + "9" * 5000, r"config\.yaml: not valid YAML"),
        ("[" * 300_000, "line 1: not valid YAML"),
        ("[" * 300_000 + "]" * 300_000, "line 1: not valid YAML .*(nested too deeply|maximum nesting depth)"),
        ("{a: " * 101 + "}" * 101, "nested too deeply"),
        ("litellm_settings: &a {x: *a}", "something refers to itself"),
        ("- a", "the top level must be a mapping"),
        ("text", "the top level must be a mapping"),
        ("model_list: {}\ngeneral_settings: [a]", "general_settings must be a mapping"),
        ("model_list: {a: 1}", "model_list must be a list"),
        ("general_settings: {master_key: os.environ/NOT_SET}", r"general_settings\.master_key: .*NOT_SET is not set"),
        ("general_settings: {master_key: [sk-canary]}", r"general_settings\.master_key: expected a string"),
        ("general_settings: {reject_clientside_metadata_tags: perhaps}", r"reject_clientside_metadata_tags: expected true or false"),
        ("general_settings: {allow_unenforced: 3}", "allow_unenforced must be a list"),
        ("litellm_settings: {callbacks: {a: 1}}", r"litellm_settings\.callbacks: expected"),
        ("callback_settings: [otel]", "callback_settings must be a mapping"),
        ("callback_settings: {otel: off}", r"callback_settings\.otel must be a mapping"),
        ("callback_settings: {x: {callback_type: generic_api}}", r"callback_settings\.x\.endpoint"),
        ("callback_settings: {x: {callback_type: generic_api, endpoint: e, headers: {a: 'b,c=d'}}}", "a comma"),
        ("credential_list: [{credential_name: a}]", r"credential_list\[0\] must have"),
        ("guardrails: [a]", "guardrails must be a list of mappings"),
        ("include: [nowhere.yaml]", "cannot read"),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(text, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
                ("model_list: [1]", "an entry must be a mapping"),
        ("model_list: [{model_name: '', litellm_params: {model: openai/m}}]", "model_name must be a string"),
        ("model_list: [{model_name: m}]", "litellm_params must be a mapping"),
        ("model_list: [{model_name: m, litellm_params: {}}]", r"litellm_params\.model must be a string"),
        ("model_list: [{model_name: m, litellm_params: {model: openai/x}, model_info: 3}]", "model_info must be a mapping"),
        ("model_list: [{model_name: m, litellm_params: {model: openai/x}, model_info: {base_model: [3]}}]", "base_model: expected a string"),
        (settled(model="snowflake/arctic"), "provider 'snowflake' isn't served: a format of its own"),
        (settled(model="hosted_vllm/qwen"), "provider 'hosted_vllm' needs an api_base"),
        (settled(model="os.environ/NOT_SET"), r"litellm_params\.model: the environment variable NOT_SET is not set"),
        (settled(model=""), r"litellm_params\.model must be a string"),
        (settled(model="openai/"), r"litellm_params\.model must be a string"),
        (settled(), "no api_key, and OPENAI_API_KEY isn't set"),
        (settled(api_key="os.environ/NOT_SET"), "api_key: the environment variable NOT_SET is not set"),
        (settled(api_base="os.environ/NOT_SET"), "api_base: the environment variable NOT_SET is not set"),
        (settled(api_base="http://${NOT_SET}/v1"), "api_base: the environment variable NOT_SET is not set"),
        (settled(api_key=[3]), "api_key: expected a string"),
        (settled(api_base=[3]), "api_base: expected a string"),
        (settled(api_base="gpu:8000"), "api_base is no address"),
        (settled(weight="heavy"), "weight: expected a number"),
        (settled(weight=-1, mock_response="x"), "weight must be a number of zero or more"),
        (settled(timeout="nan", mock_response="x"), "timeout must be a number of zero or more"),
        (settled(extra_headers=[1]), "extra_headers must be a mapping"),
        (settled(mock_response="x", input_cost_per_token="cheap"), "input_cost_per_token: 'cheap' is not an amount"),
        (settled(mock_response="x", input_cost_per_token=True), "input_cost_per_token"),
        (settled(mock_response="x", input_cost_per_token=-2), "input_cost_per_token"),
        (settled(litellm_credential_name="mine"), "there is no credential 'mine'"),
        ("model_list: [{model_name: m, litellm_params: {model: openai/m, mock_response: x}, model_info: {team_id: os.environ/NOT_SET}}]",
         "team_id: the environment variable NOT_SET is not set"),
        (settled(custom_llm_provider="acme"), "custom_llm_provider: 'acme' is not known"),
    ],
    ids=lambda value: value[:60],
)  # fmt: skip
def test_one_model_that_cannot_be_served_is_left_out_with_the_reason(text: str, sentence: str) -> None:
    text = (
        text.replace("model_list: [", f"model_list: [{GOOD}, ")
        if not text.startswith("{")
        else text.replace("[", f"[{GOOD}, ", 1)
    )
    config = parse(text, {})
    assert [deployment.model_name for deployment in config.deployments] == ["good"]
    (left,) = config.left_out
    assert left.place == "model_list[1]" and re.search(sentence, left.reason), left
    assert any(left.reason in warning for warning in config.warnings)
    assert left.model_name in ("m", "") and (not left.model_name or config.why_left_out("m") == left.reason)
    refusing = text.rstrip("}") + ', "router_settings": {"ignore_invalid_deployments": false}}' if text.startswith("{") else (
        text + "\nrouter_settings: {ignore_invalid_deployments: false}"
    )  # fmt: skip
    if not text.startswith("{"):
        with pytest.raises(ConfigError, match="ignore_invalid_deployments is false"):
            parse(refusing, {})


def test_an_error_does_not_quote_a_secret() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse('general_settings: {master_key: "sk-canary", database_url: [sk-canary]}', {})
    assert "canary" not in str(refusal.value)
    for text in (
        settled(api_key=["sk-canary"]),
        settled(api_key="sk-canary", weight="x"),
        settled(api_base="sk-canary"),
    ):
        config = parse(text, {})
        assert config.left_out and "canary" not in repr(config.left_out) + repr(config.warnings) + repr(config.keys)


def test_the_same_entry_twice_is_fine_and_the_same_id_for_two_is_not() -> None:
    entry = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_key": "k"}}
    first, second = parse(json.dumps({"model_list": [entry, entry]}), {}).deployments
    assert first == second
    other = {"model_name": "n", "litellm_params": {"model": "openai/n", "api_key": "k"}, "model_info": {"id": "x"}}
    config = parse(json.dumps({"model_list": [{**entry, "model_info": {"id": "x"}}, other]}), {})
    assert [each.model_name for each in config.deployments] == ["m"]
    assert "'x' is used by two" in config.left_out[0].reason


def test_an_entry_keeps_its_id_when_the_file_is_rearranged() -> None:
    one = parse(settled(api_key="sk-a", weight=2), {}).deployments[0].id
    again = parse(
        '{"model_list": [{"litellm_params": {"weight": 2, "api_key": "sk-a", "model": "openai/m"}, "model_name": "m"}]}',
        {},
    )
    assert again.deployments[0].id == one
    assert parse(settled(api_key="sk-a", weight=3), {}).deployments[0].id != one


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(EXAMPLE)
    assert load(str(file), ENVIRON).directory == str(tmp_path)
    for wrong in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot read"):
            load(str(wrong), {})
    file.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="cannot read"):
        load(str(file), {})
    file.write_bytes(b"")
    assert load(str(file), {}).deployments == []


keys = st.sampled_from(
    ["model_list", "general_settings", "litellm_settings", "router_settings", "environment_variables", "model_name",
     "litellm_params", "model_info", "model", "api_key", "api_base", "weight", "timeout", "order", "id", "base_model",
     "mock_response", "extra_headers", "input_cost_per_token", "master_key", "database_url", "callbacks"]
) | st.text(max_size=5) | st.integers() | st.none() | st.dates()  # fmt: skip
leaves = (
    st.sampled_from(["os.environ/SECRET", "os.environ/NOT_SET", "openai/gpt-4o", "openai", "/", "", "1e-6"])
    | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)  # fmt: skip
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
entries = st.fixed_dictionaries(
    {"model_name": st.just("m") | leaves},
    optional={"litellm_params": st.fixed_dictionaries({"model": st.just("openai/m")}) | trees, "model_info": trees},
)
files = st.fixed_dictionaries(
    {}, optional={"model_list": st.lists(entries, max_size=3) | trees, "general_settings": trees, "litellm_settings": trees,
                  "router_settings": trees, "environment_variables": trees}
)  # fmt: skip


def parsed_or_refused(text: str) -> Config | None:
    try:
        config = parse(text, {"SECRET": "canary"})
    except ConfigError as refusal:
        assert str(refusal) and "canary" not in str(refusal)
        return None
    for deployment in config.deployments:
        assert isinstance(deployment.upstream_model, str) and isinstance(deployment.base_model, str | None)
        assert deployment.timeout_ms > 0 and deployment.weight >= 0
    assert "canary" not in repr([config.master_key, config.database_url, [d.api_key for d in config.deployments]])
    return config


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(files | trees)
def test_a_wrong_tree_never_crashes(tree: Any) -> None:
    parsed_or_refused(yaml.safe_dump(tree))


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
    | st.text("-:[]{}&*!|>'\"%@`,?# \n\tab01.~<=", max_size=60)
)
def test_junk_never_crashes(text: str) -> None:
    parsed_or_refused(text)


def test_what_stands_in_the_wrong_section_and_means_one_thing_is_done() -> None:
    config = parse("general_settings: {drop_params: true}", {})
    assert config.litellm.drop_params and "general_settings.drop_params" in {key.place for key in config.keys}
    both = parse("general_settings: {drop_params: true}\nlitellm_settings: {drop_params: false}", {})
    assert not both.litellm.drop_params and any("general_settings.drop_params" in each for each in both.warnings)


def test_an_account_in_an_address() -> None:
    entry = "model_list: [{model_name: m, litellm_params: {model: cloudflare/@cf/meta/llama-3-8b, api_key: k}}]"
    (served,) = parse(entry, {"CLOUDFLARE_ACCOUNT_ID": "abc-1"}).deployments
    assert served.api_base == "https://api.cloudflare.com/client/v4/accounts/abc-1/ai/v1"
    assert served.upstream_model == "@cf/meta/llama-3-8b"
    for environ in ({}, {"CLOUDFLARE_ACCOUNT_ID": "x/../y"}):
        (left_out,) = parse(entry, environ).left_out
        assert "CLOUDFLARE_ACCOUNT_ID" in left_out.reason


def test_a_list_of_names_with_something_else_in_it() -> None:
    config = parse(
        "general_settings: {alerting: [slack, {slack_webhook_url: x}]}", {"SLACK_WEBHOOK_URL": "https://hooks.example"}
    )
    assert config.general.alerting == ["slack"] and config.general_settings["alerting"] == ["slack"]
    assert any("general_settings.alerting[1]: not used" in each for each in config.warnings)


def test_what_is_so_anyway_is_so_in_any_section_and_an_interval_without_checks_asks_for_nothing() -> None:
    config = parse("general_settings: {telemetry: false, health_check_interval: 300, enable_admin_ui: true}", {})
    assert {key.verdict for key in config.keys} == {"acts"} and not config.warnings
    on = parse("general_settings: {enable_admin_ui: false}", {})
    assert on.keys[0].verdict != "unknown"


def test_a_price_that_nobody_can_say_is_none() -> None:
    given = "model: openai/m, mock_response: x, input_cost_per_token: -1.0, output_cost_per_token: -1"
    text = f"model_list: [{{model_name: m, litellm_params: {{{given}}}}}]"
    config = parse(text, {})
    assert config.deployments[0].price is None and not config.deployments[0].parameters
    found = {key.place: key.verdict for key in config.keys}
    assert found["model_list[0].litellm_params.input_cost_per_token"] == "differently"


def test_python_of_ones_own_is_found_beside_the_configuration_and_along_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("beside", "path"):
        (tmp_path / folder / "inner").mkdir(parents=True)
    (tmp_path / "path" / "inner" / "mine.py").write_text("class A:\n    def record(self, call): ...\na = A()\n")
    text = "litellm_settings: {callbacks: [inner.mine.a]}"
    (key,) = parse(text, {}, directory=str(tmp_path / "beside")).keys
    assert key.verdict == "no effect" and "no inner/mine.py beside the configuration" in key.note
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'nowhere'}:{tmp_path / 'path'}")
    (key,) = parse(text, {}, directory=str(tmp_path / "beside")).keys
    assert key.verdict == "acts"
    (tmp_path / "beside" / "inner" / "mine.py").write_text("b = 1\n")
    (key,) = parse(text, {}, directory=str(tmp_path / "beside")).keys
    assert key.verdict == "no effect", "its own file goes before"
