"""`model: "*"`, and `infer_model_from_keys`: whoever a caller names, where the key is there."""

import pytest

from services.edge import configured
from services.policy import catalog
from shared import prices
from shared.config import Config, everybody, parse
from shared.outbound import Guard, Outbound, OutboundSettings

STAR = 'model_list: [{model_name: mine, litellm_params: {model: openai/m}}, {model_name: "*", litellm_params: {model: "*", timeout: 7}}]'
INFER = "general_settings: {infer_model_from_keys: true}\nmodel_list: [{model_name: mine, litellm_params: {model: openai/m, api_key: k}}]"
KEYS = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-anthropic"}


def where(config: Config, asked: str) -> list[str]:
    """Providers and models that policy would send a call to."""
    found = {each.id: each for each in config.deployments}
    made = catalog.build(config, prices.lookup, {})
    return [f"{found[c.deployment_id].provider}/{c.upstream_model}" for c in made.candidates(asked)]


@pytest.mark.parametrize("text", [STAR, INFER])
async def test_every_service_has_the_same_ones_and_the_edge_calls_those_with_a_key(text: str) -> None:
    edge = parse(text, KEYS, service="edge")
    policy = parse(text, {}, service="policy")
    assert not edge.left_out and not policy.left_out and not policy.unkeyed
    assert {each.id for each in policy.deployments} == {each.id for each in edge.deployments} | set(edge.unkeyed)
    for asked, provider in (
        ("openai/gpt-4o", "openai/gpt-4o"), ("gpt-4o", "openai/gpt-4o"), ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("groq/llama-3", "groq/llama-3"), ("gemini-2.5-flash", "gemini/gemini-2.5-flash"), ("mine", "openai/m"),
    ):  # fmt: skip
        assert where(policy, asked) == [provider]
    assert where(policy, "nobody/knows") == [] and where(policy, "unheard-of") == []
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    found = configured.read(edge, KEYS, outbound, "127.0.0.1")
    await outbound.close()
    (groq,) = (c.deployment_id for c in catalog.build(policy, prices.lookup, {}).candidates("groq/llama-3"))
    assert groq not in found.targets and "GROQ_API_KEY isn't set" in found.left_out[groq]
    keys = {target.deployment.provider: target.deployment.api_key for target in found.targets.values()}
    assert keys["openai"] is not None and keys["anthropic"] is not None and set(keys) == {"openai", "anthropic"}


def test_what_such_an_entry_says_is_said_of_each_and_named_once() -> None:
    config = parse(STAR, KEYS)
    assert {each.timeout_ms for each in config.deployments if each.model_name != "mine"} == {7_000}
    places = [key.place for key in config.keys]
    assert sorted(places) == sorted(set(places)) and "model_list[1].litellm_params.timeout" in places
    assert not config.warnings


def test_each_has_an_id_of_its_own_and_two_words_for_everybody_are_one() -> None:
    entry = 'model_list: [{model_name: "*", litellm_params: {model: "*"}, model_info: {id: star}}]'
    config = parse(entry, KEYS)
    ids = [each.id for each in config.deployments] + [*config.unkeyed]
    assert len(ids) == len(set(ids)) == len(everybody.NAMED) + len(everybody.MADE) and "star:gpt-*" in ids
    both = parse(f"general_settings: {{infer_model_from_keys: true}}\n{entry}", KEYS)
    assert [each.id for each in both.deployments] == [each.id for each in config.deployments]


def test_what_is_wrong_with_such_an_entry_is_said() -> None:
    (left_out,) = parse(
        STAR.replace("timeout: 7", "timeout: soon").replace("openai/m", "openai/m, api_key: k"), {}
    ).left_out
    assert left_out.reason.startswith("litellm_params.timeout: expected a number")


def test_without_any_key_it_is_left_out_and_a_credential_goes_to_nobody() -> None:
    (left_out,) = parse(STAR.replace("openai/m", "openai/m, api_key: k"), {}).left_out
    assert (left_out.model_name, left_out.reason) == ("*", "no provider's key is in the environment")
    (left_out,) = parse(
        'model_list: [{model_name: "*", litellm_params: {model: "*", api_key: sk-whose}}]', KEYS
    ).left_out
    assert "doesn't say whose it is" in left_out.reason
    (served,) = parse(
        'model_list: [{model_name: "*", litellm_params: {model: "*", api_base: "http://own/v1"}}]', {}
    ).deployments
    assert (served.model_name, served.upstream_model, served.api_base) == ("*", "*", "http://own/v1")
