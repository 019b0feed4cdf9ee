"""LiteLLM's whole list of providers beside ours: each is served, or left out with the reason."""

import json
from pathlib import Path

import pytest

from shared import config
from shared.config.provider import OPENAI_WIRE, Provider
from shared.config.providers import PROVIDERS, SERVED_WIRES

NAMES = [
    line
    for line in (Path(__file__).parent / "litellm_providers.txt").read_text().splitlines()
    if not line.startswith("#")
]
ENVIRON = {
    "AWS_REGION_NAME": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
    "CLOUDFLARE_ACCOUNT_ID": "abc", "VERTEXAI_PROJECT": "p", "WATSONX_PROJECT_ID": "p",
}  # fmt: skip
AN_ADDRESS = "https://models.example/v1"
"""For who has none that is right for everybody."""


def loaded(name: str, row: Provider, **params: str) -> config.Config:
    environ = ENVIRON | dict.fromkeys(row.key_variables, "sk-of-this-test-0123456789")
    entry = {"model_name": "m", "litellm_params": {"model": f"{name}/some-model", **params}}
    return config.parse(json.dumps({"model_list": [entry]}), environ)


def test_the_list_is_long() -> None:
    assert len(NAMES) == len(set(NAMES)) > 180


@pytest.mark.parametrize("name", NAMES)
def test_each_provider_is_served_or_left_out_with_its_reason(name: str) -> None:
    row = PROVIDERS[name]
    found = loaded(name, row)
    if found.left_out and "needs an api_base" in found.left_out[0].reason:
        assert not row.api_base and not row.why_not
        found = loaded(name, row, api_base=AN_ADDRESS)
    if row.why_not:
        assert row.wire not in SERVED_WIRES
        assert [each.reason for each in found.left_out] == [
            f"litellm_params: provider {name!r} isn't served: {row.why_not}"
        ]
    else:
        assert not found.left_out, found.left_out
        (served,) = found.deployments
        assert (served.provider, served.upstream_model) == (name, "some-model")


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if row.wire == OPENAI_WIRE and row.needs_key])
def test_who_speaks_openais_format_has_an_address_or_a_variable_for_it(name: str) -> None:
    row = PROVIDERS[name]
    assert row.key_variables
    assert row.api_base.startswith("https://") or row.base_variables or name == "custom"
