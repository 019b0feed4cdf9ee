"""Nobody serves without a strong master key by accident, and nobody's key goes to somebody else's
address.
"""

import json
from typing import Any

import pytest

from shared.config import Config, ConfigError, Secret, opening, parse

STRONG = "sk-master-of-this-test"


def general(text: str, environ: dict[str, str] | None = None) -> Config:
    return parse(f"general_settings: {text}", environ or {})


def entry(model: str, **params: Any) -> str:
    return json.dumps({"model_list": [{"model_name": "m", "litellm_params": {"model": model, **params}}]})


@pytest.mark.parametrize(
    ("text", "environ", "key"),
    [
        ("{master_key: sk-in-the-file}", {"LITELLM_MASTER_KEY": "sk-other"}, "sk-in-the-file"),
        ("{master_key: os.environ/K}", {"K": "sk-k", "LITELLM_MASTER_KEY": "sk-other"}, "sk-k"),
        ("{}", {"LITELLM_MASTER_KEY": "sk-from-environment"}, "sk-from-environment"),
        ("{master_key: null}", {"LITELLM_MASTER_KEY": "sk-from-environment"}, "sk-from-environment"),
        ("{master_key: ''}", {"LITELLM_MASTER_KEY": "sk-from-environment"}, "sk-from-environment"),
        ("{}", {"LITELLM_MASTER_KEY": ""}, None),
        ("{}\nenvironment_variables: {LITELLM_MASTER_KEY: sk-of-the-file}", {}, "sk-of-the-file"),
    ],
)
def test_where_the_master_key_is_found(text: str, environ: dict[str, str], key: str | None) -> None:
    found = general(text, environ).master_key
    assert (found.reveal() if found is not None else None) == key


@pytest.mark.parametrize("environ", [{}, {"X": ""}, {"X": "", "LITELLM_MASTER_KEY": "sk-other"}])
def test_an_empty_variable_is_a_missing_one(environ: dict[str, str]) -> None:
    for text in ("{master_key: os.environ/X}", "{database_url: os.environ/X}"):
        with pytest.raises(ConfigError, match="environment variable X is not set, or empty"):
            general(text, environ)
    for key in ("api_key", "api_base"):
        config = parse(entry("openai/m", **{key: "os.environ/X"}), environ)
        assert not config.deployments
        assert f"{key}: the environment variable X is not set, or empty" in config.left_out[0].reason


@pytest.mark.parametrize(
    ("text", "environ", "allowed"),
    [
        ("{}", {}, False),
        ("{allow_open_gateway: true}", {}, True),
        ("{allow_open_gateway: false}", {}, False),
        ("{dangerously_permit_weak_or_unset_master_key: true}", {}, True),
        ("{}", {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "True"}, True),
        ("{}", {"TOLLGATE_ALLOW_OPEN_GATEWAY": "1"}, True),
        ("{}", {"TOLLGATE_ALLOW_OPEN_GATEWAY": "false"}, False),
        ("{}", {"TOLLGATE_ALLOW_OPEN_GATEWAY": ""}, False),
    ],
)
def test_open_only_where_it_is_said(text: str, environ: dict[str, str], allowed: bool) -> None:
    assert general(text, environ).allow_open_gateway is allowed


@pytest.mark.parametrize(
    ("text", "environ"),
    [("{allow_open_gateway: 'yes please'}", {}), ("{}", {"TOLLGATE_ALLOW_OPEN_GATEWAY": "perhaps"})],
)  # fmt: skip
def test_a_word_that_is_neither_yes_nor_no_is_refused(text: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"(must be|expected) true or false"):
        general(text, environ)


LOOPBACK = ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST")
OUTSIDE = ("0.0.0.0", "::", "", "10.0.0.1", "gateway.example", "localhost.example", "127.0.0.1.example")


@pytest.mark.parametrize("host", [*LOOPBACK, *OUTSIDE])
def test_who_may_listen_where(host: str) -> None:
    opening.refuse(Secret(STRONG), host, allow=False)
    opening.refuse(None, host, allow=True)
    opening.refuse(Secret("sk-1234"), host, allow=True)
    for nothing in (None, Secret("")):
        with pytest.raises(ConfigError, match="no master key"):
            opening.refuse(nothing, host, allow=False)
    if host in LOOPBACK:
        opening.refuse(Secret("sk-1234"), host, allow=False)
    else:
        for weak in ("sk-1234", "sk-abcd", "x"):
            with pytest.raises(ConfigError, match="the master key is weak") as refusal:
                opening.refuse(Secret(weak), host, allow=False)
            assert weak not in str(refusal.value).replace("sk-1234, or", "") or weak == "x"
        opening.refuse(Secret("sk-12345"), host, allow=False)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"), ("gpt-3.5-turbo", "openai"), ("o3-mini", "openai"), ("text-embedding-3-small", "openai"),
        ("whisper-1", "openai"), ("ft:gpt-4o-mini:org::id", "openai"), ("gpt-3.5-turbo-instruct", "text-completion-openai"),
        ("claude-3-5-sonnet-20241022", "anthropic"), ("claude-sonnet-4-5", "anthropic"), ("command-r-plus", "cohere"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "bedrock"), ("us.amazon.nova-pro-v1:0", "bedrock"),
    ],
)  # fmt: skip
def test_a_name_without_a_provider_finds_its_maker(model: str, provider: str) -> None:
    (deployment,) = parse(entry(model, mock_response="hi"), {}).deployments
    assert (deployment.provider, deployment.upstream_model) == (provider, model)


def test_gemini_is_vertex_unless_there_is_a_key() -> None:
    def provider(**params: Any) -> str:
        return parse(entry("gemini-2.0-flash", mock_response="hi", **params), {}).deployments[0].provider

    assert (provider(), provider(api_key="k")) == ("vertex_ai", "gemini")


@pytest.mark.parametrize(
    "model", ["claude-3-5-sonnet-20241022", "my-model", "gemini-pro", "acme/their-model", "Claude-3"]
)
def test_a_key_never_goes_to_openai_by_default(model: str) -> None:
    config = parse(entry(model, api_key="sk-ant-canary"), {})
    assert all("openai.com" not in d.api_base for d in config.deployments)
    assert "canary" not in repr(config)


def test_a_key_of_the_environment_goes_to_its_own_provider_alone() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-openai",
        "GROQ_API_KEY": "sk-groq",
        "HOSTED_VLLM_API_KEY": "sk-vllm",
        "OPENAI_BASE_URL": "http://proxy/v1",
    }

    def key(model: str, base: str | None) -> str | None:
        found = parse(entry(model, **({"api_base": base} if base else {})), environ).deployments[0]
        return found.api_key.reveal() if found.api_key is not None else None

    assert key("openai/m", None) == "sk-openai"  # at OPENAI_BASE_URL, which belongs to it
    assert key("openai/m", "https://api.openai.com/v1/") == "sk-openai"
    assert key("openai/m", "http://gpu:8000/v1") is None
    assert key("openai/m", "https://api.groq.com/openai/v1") == "sk-groq"
    assert key("groq/m", "https://api.openai.com/v1") == "sk-openai"
    assert key("hosted_vllm/m", "http://gpu:8000/v1") == "sk-vllm"


def test_who_names_an_address_is_believed() -> None:
    (deployment,) = parse(entry("acme/their-model", api_base="http://gpu:8000/v1"), {}).deployments
    assert (deployment.provider, deployment.upstream_model) == ("openai", "acme/their-model")
