"""Fallbacks and aliases, as LiteLLM's configurations write them, become part of the grant."""

import json
from typing import Any

import pytest

from services.policy import catalog, fallbacks
from services.policy.catalog import Catalog
from shared import config
from shared.billing import Price
from shared.config import ConfigError

PRICE = Price(1, 2)


def built(*names: str, **sections: Any) -> Catalog:
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "sk-0000000000", **more}}
        for name, more in ((name, {}) for name in names)
    ]
    loaded = config.parse(json.dumps({"model_list": models, **sections}), {})
    assert not loaded.left_out
    return catalog.build(loaded, lambda provider, model: PRICE)


def others(found: Catalog, model: str) -> list[tuple[str, str]]:
    return [(fallback.model, fallback.reason) for fallback in found.fallbacks(model)]


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings"])
def test_a_models_fallbacks_come_in_order_each_with_what_it_is_for_and_its_price(section: str) -> None:
    found = built(
        "a", "b", "c", "d", "wide", "calm",
        **{section: {
            "fallbacks": [{"a": ["b", "c"]}, {"b": ["a"]}], "default_fallbacks": ["d"],
            "context_window_fallbacks": [{"a": ["wide"]}], "content_policy_fallbacks": [{"a": ["calm", "nobody-serves-this"]}],
        }},
    )  # fmt: skip
    assert others(found, "a") == [("wide", "context_window"), ("calm", "content_policy"), ("b", ""), ("c", "")]
    assert others(found, "b") == [("a", "")]
    assert others(found, "c") == [("d", "")], "the default is for models that no line names"
    assert others(found, "d") == []
    assert found.fallbacks("a")[2].candidates[0].upstream_model == "b"
    assert found.fallbacks("a")[2].candidates[0].price == PRICE


def test_a_pattern_has_the_defaults_and_no_more_than_asked_for() -> None:
    found = built("openai/*", "d", "e", router_settings={"fallbacks": [{"*": ["d", "e"]}], "max_fallbacks": 1})
    assert others(found, "openai/gpt-9") == [("d", "")]


def test_an_alias_is_another_name_of_a_model_and_has_its_fallbacks() -> None:
    found = built(
        "a", "b", router_settings={"model_group_alias": {"gpt-4": "a", "old": {"model": "a", "hidden": True}}, "fallbacks": [{"a": ["b"]}]}
    )  # fmt: skip
    assert [c.upstream_model for c in found.candidates("gpt-4")] == ["a"]
    assert others(found, "gpt-4") == [("b", "")]
    assert found.hidden == {"old"} and found.candidates("old") == found.candidates("a")


@pytest.mark.parametrize("odd", [{"x": 5}, {"x": {"hidden": True}}, {"x": ""}])
def test_an_alias_of_nothing_refuses_the_start(odd: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="model_group_alias"):
        built("a", router_settings={"model_group_alias": odd})


def test_requests_a_minute_are_a_share_where_no_weight_is_given() -> None:
    models = [
        {
            "model_name": "m",
            "litellm_params": {"model": "openai/x", "api_key": "sk-0000000000", **each},
            "model_info": info,
        }
        for each, info in (
            ({"rpm": 60}, {}),
            ({"tpm": 900}, {"max_input_tokens": 8_000}),
            ({"weight": 3, "rpm": 9}, {}),
        )
    ]
    found = catalog.build(config.parse(json.dumps({"model_list": models}), {}), lambda *_: None).candidates("m")
    assert [(c.weight, c.rpm, c.tpm, c.input_tokens_max) for c in found] == [
        (60.0, 60, None, None), (900.0, None, 900, 8_000), (3.0, 9, None, None),
    ]  # fmt: skip


def test_the_same_model_never_falls_back_to_itself() -> None:
    lines = [fallbacks.FallbackRoute("a", ["a", "b"]), fallbacks.FallbackRoute("*", ["a"])]
    assert fallbacks.of(lines, "a") == [("b", "")]
    assert fallbacks.of(lines, "c") == [("a", "")]
