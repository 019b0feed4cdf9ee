"""What stands in another place, or has another shape, than LiteLLM reads it."""

import pytest

from services.policy import fallbacks
from shared.config import parse
from shared.config.errors import ConfigError


def verdicts(text: str) -> dict[str, str]:
    return {key.place: key.verdict for key in parse(text, {}).keys}


def test_a_key_in_the_wrong_section_is_done_and_named() -> None:
    config = parse(
        "general_settings: {request_timeout: 7, cache: true, max_fallbacks: 2}\n"
        "router_settings: {success_callback: [langfuse]}\n"
        "litellm_settings: {routing_strategy: least-busy, master_key: sk-of-this-file-01}\n"
        "fallbacks: [other]\n",
        {},
    )
    assert config.litellm.request_timeout == 7 and config.litellm.cache is True and config.litellm.max_fallbacks == 2
    assert config.litellm.success_callback == ["langfuse"] and config.litellm.default_fallbacks == ["other"]
    assert config.router.routing_strategy == "least-busy"
    assert config.master_key is not None and config.master_key.reveal() == "sk-of-this-file-01"
    for place in ("general_settings.request_timeout", "litellm_settings.routing_strategy", "default_fallbacks"):
        assert any(sentence.startswith(f"{place}: read as ") for sentence in config.warnings)
    assert not [key.place for key in config.keys if key.verdict in ("unknown", "no effect")]
    assert "sk-of-this-file-01" not in str(config.warnings) + str(config.litellm_settings)


def test_its_own_section_goes_before() -> None:
    config = parse("general_settings: {request_timeout: 7}\nlitellm_settings: {request_timeout: 9}\n", {})
    assert config.litellm.request_timeout == 9
    assert verdicts("general_settings: {request_timeout: 7}\nlitellm_settings: {request_timeout: 9}\n")[
        "general_settings.request_timeout"
    ] == "unknown"  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "allow_open_gateway: true", "public_routes: [/x]", "allow_any_audience: true", "use_x_forwarded_for: true", "enable_jwt_auth: true",
        "pass_through_endpoints: [{path: /x, target: 'https://x.example', auth: false}]", "forward_client_headers_to_llm_api: true",
    ],
)  # fmt: skip
def test_what_opens_something_is_read_only_where_it_belongs(key: str) -> None:
    config = parse(f"litellm_settings: {{{key}}}\n", {})
    assert config.keys[0].verdict == "unknown" and not config.allow_open_gateway
    assert config.general == parse("", {}).general


@pytest.mark.parametrize(
    "key",
    ["ssl_verify: false", "public_model_groups: [m]", "default_internal_user_params: {user_role: proxy_admin}"],
)
def test_nor_is_it_where_it_belongs_in_litellm_settings(key: str) -> None:
    for section in ("general_settings: {%s}\n", "router_settings: {%s}\n", "%s\n"):
        config = parse(section % key, {})
        assert config.keys[0].verdict == "unknown" and config.litellm == parse("", {}).litellm
    (deployment,) = parse(ENTRY.replace("- model_name: m", "- model_name: m\n  ssl_verify: false"), {}).deployments
    assert deployment.params.ssl_verify is None


def test_a_forgotten_master_key_takes_not_the_place_of_the_environments() -> None:
    text = "litellm_settings: {master_key: sk-forgotten-01}\n"
    for environ in ({"LITELLM_MASTER_KEY": "sk-of-the-environment"}, {}):
        found = parse(text, environ).master_key
        assert found is not None and found.reveal() == environ.get("LITELLM_MASTER_KEY", "sk-forgotten-01")


def test_a_value_of_another_type_stays_where_it_is() -> None:
    config = parse("general_settings: {num_retries: {gpt: 3}}\n", {})
    assert config.litellm.num_retries is None and config.keys[0].verdict == "unknown"


def test_names_that_mean_another_key() -> None:
    config = parse("general_settings: {debug: true}\nlitellm_settings: {drop_unsupported_params: true}\n", {})
    assert config.litellm.set_verbose and config.litellm.drop_params


ENTRY = """
model_list:
- model_name: m
  api_base: http://somewhere.example/v1
  litellm_params: {model: openai/m, api_key: k, rpm_limit: 4, supports_vision: true, context_window: 9}
"""


def test_an_entrys_keys_beside_litellm_params() -> None:
    (deployment,) = parse(ENTRY, {}).deployments
    assert deployment.api_base == "http://somewhere.example/v1" and deployment.rpm == 4
    assert deployment.info == {"supports_vision": True, "max_input_tokens": 9} and deployment.input_tokens_max == 9
    assert not deployment.parameters  # nothing of it is sent to the provider


@pytest.mark.parametrize(
    "key",
    [
        "complexity_router_config: {tiers: {SIMPLE: m}}",
        "auto_router_config_path: a.json",
        "quality_router_config: {a: 1}",
    ],
)
def test_the_settings_of_litellms_own_routers_are_named_and_sent_to_nobody(key: str) -> None:
    config = parse(ENTRY.replace("rpm_limit: 4", key), {})
    (deployment,) = config.deployments
    assert not deployment.parameters
    assert {each.verdict for each in config.keys if "_router_" in each.place} == {"no effect"}


def test_chains_of_models_in_any_shape() -> None:
    config = parse(
        "router_settings:\n"
        "  fallbacks: [{a: b}, [c, d, e], f]\n"
        "  context_window_fallbacks: {a: [big]}\n"
        "  content_policy_fallbacks: [{model: a, context_window: 5}]\n"
        "  model_group_alias: {one: [a], none: [a, 5]}\n"
        "  routing_strategy: 'latency-based-routing\"'\n",
        {},
    )
    assert config.router.fallbacks == [{"a": ["b"]}, {"c": ["d", "e"]}] and config.router.default_fallbacks == ["f"]
    assert config.router.context_window_fallbacks == [{"a": ["big"]}] and not config.router.content_policy_fallbacks
    assert config.router.model_group_alias == {"one": "a"}
    assert config.router.routing_strategy == "latency-based-routing"
    found = {key.place: key.verdict for key in config.keys}
    assert found["router_settings.content_policy_fallbacks[0]"] == "no effect"
    assert found["router_settings.model_group_alias.none"] == "no effect"


def test_what_is_said_twice_with_one_meaning_acts() -> None:
    found = verdicts(
        "general_settings: {num_retries: 2, drop_unsupported_params: true}\nlitellm_settings: {num_retries: 2, drop_params: true}\n"
    )
    assert set(found.values()) == {"acts"}
    other = verdicts("general_settings: {num_retries: 3}\nlitellm_settings: {num_retries: 2}\n")
    assert other["general_settings.num_retries"] == "unknown"


def test_what_is_off_asks_for_nothing() -> None:
    text = "litellm_settings: {log_raw_request_response: false, http2: false, custom_prometheus_tags: []}\nmcp_aliases: {}\nfiles_settings:\n"
    config = parse(text, {})
    assert {key.verdict for key in config.keys} == {"acts"} and not config.warnings
    for on in ("log_raw_request_response: true", "aiohttp_trust_env: false", "stream: false"):
        assert parse(f"litellm_settings: {{{on}}}", {}).keys[0].verdict == "no effect"
    assert verdicts("mcp_aliases: {a: b}")["mcp_aliases"] == "no effect"


def test_of_a_switch_that_nobody_has_it_is_said_that_nothing_happens_and_what_is_so_anyway() -> None:
    config = parse(
        "general_settings: {enable_metrics: true}\nlitellm_settings: {streaming: true}\ncost_tracking: true\n", {}
    )
    assert {key.place: (key.verdict, key.note) for key in config.keys} == {
        "cost_tracking": ("no effect", "nobody reads it; every call is in the book in any case"),
        "general_settings.enable_metrics": ("no effect", "nobody reads it; `/metrics` is there in any case"),
        "litellm_settings.streaming": (
            "no effect",
            "nobody reads it; a call that asks for a stream gets one in any case",
        ),
    }
    assert sorted(config.warnings) == [f"{key.place}: not used ({key.note})" for key in config.keys]
    off = verdicts("general_settings: {enable_metrics: false}\ncost_tracking: {budget: 1}\n")
    assert set(off.values()) == {"unknown"}


def test_the_same_name_in_another_place_may_be_a_setting_there() -> None:
    found = verdicts("callback_settings: {otel: {enable_metrics: true}}")
    assert found["callback_settings.otel.enable_metrics"] == "unknown"


def test_model_info_within_litellm_params_is_read_but_for_what_opens() -> None:
    inside = "model_info: {max_input_tokens: 7, team_id: t, access_groups: [all]}"
    text = f"model_list:\n- model_name: m\n  litellm_params: {{model: openai/m, api_key: k, {inside}}}\n"
    config = parse(text, {})
    (deployment,) = config.deployments
    assert (deployment.input_tokens_max, deployment.team_id) == (7, "t") and "access_groups" not in deployment.info
    found = {key.place: key.verdict for key in config.keys}
    assert found["model_list[0].litellm_params.model_info"] == "no effect"
    assert found["model_list[0].litellm_params.model_info.team_id"] == "differently"
    (deployment,) = parse(text + "  model_info: {team_id: u}\n", {}).deployments
    assert (deployment.input_tokens_max, deployment.team_id) == (7, "u"), "its own place goes before"


def test_what_is_said_of_an_entry_beside_its_name_is_shown() -> None:
    text = "model_list:\n- {model_name: m, description: fast, visible: false, litellm_params: {model: openai/m, api_key: k}}\n"
    config = parse(text, {})
    assert config.deployments[0].info == {"description": "fast"}
    assert {key.place: key.verdict for key in config.keys}["model_list[0].visible"] == "unknown"


def test_another_model_may_be_a_mapping_that_says_no_more_than_its_name() -> None:
    assert parse("router_settings: {fallbacks: [{a: [{model: b}, c]}]}", {}).router.fallbacks == [{"a": ["b", "c"]}]
    more = parse("router_settings: {fallbacks: [{a: [{model: b, temperature: 0}]}]}", {})
    assert not more.router.fallbacks and "no chain of models" in more.warnings[0]


def test_of_keys_that_nobody_knows_a_switch_that_is_off_asks_for_nothing() -> None:
    off = "use_queue: false, anything: null, disable_spend_updates: false, forward_client_headers_to_llm_api: false"
    asks = "enable_metrics: false, require_auth_for_metrics_endpoint: false, use_queue: true, use_something: false"
    said = verdicts(f"litellm_settings: {{{off}}}\n")
    assert set(said.values()) == {"acts"} and len(said) == 4
    said = verdicts(f"general_settings: {{{asks}}}\n")
    assert set(said.values()) == {"unknown"} and len(said) == 4


def test_a_master_key_that_the_environment_says_too() -> None:
    text = "litellm_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n"
    found = parse(text, {"LITELLM_MASTER_KEY": "sk-of-the-environment"})
    assert [(key.verdict, key.note) for key in found.keys] == [("acts", "the environment says it too")]
    assert found.master_key is not None and found.master_key.reveal() == "sk-of-the-environment"


@pytest.mark.parametrize(
    "chain", ["{model_name: a, fallback_models: [b]}", "{fallbacks: b, model: a}", "{model: a, fallbacks: [b]}"]
)
def test_a_chain_that_is_described(chain: str) -> None:
    assert parse(f"litellm_settings: {{fallbacks: [{chain}]}}", {}).litellm.fallbacks == [{"a": ["b"]}]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("default_fallback_models: [b]", "litellm.default_fallbacks"),
        ("model_alias: {a: b}", "router.model_group_alias"),
        ("model_alias_map: {a: b}", "router.model_group_alias"),
    ],
)
def test_other_names_of_what_routes(key: str, meant: str) -> None:
    found = parse(f"router_settings: {{{key}}}", {})
    section, name = meant.split(".")
    assert getattr(getattr(found, section), name) or getattr(found.router, name)


def test_a_section_of_ones_own_whose_keys_belong_elsewhere() -> None:
    config = parse(
        "logging: {level: WARNING, log_requests: true, file: x.log}\n"
        "database_settings: {database_url: 'postgresql://u:hidden@h/d', allow_open_gateway: true}\n"
        "health_check_settings: {health_check_interval: 30}\nfiles_settings: [{custom_llm_provider: openai}]\n",
        {},
    )
    assert config.litellm.log_level == "WARNING" and config.general.health_check_interval == 30
    assert config.database_url is not None and not config.allow_open_gateway
    found = {key.place: key.verdict for key in config.keys}
    assert found == {
        "logging.level": "differently", "logging.log_requests": "no effect", "logging.file": "unknown",
        "database_settings.database_url": "differently", "database_settings.allow_open_gateway": "unknown",
        "health_check_settings.health_check_interval": "differently", "files_settings": "no effect",
    } | {place: found[place] for place in found if place.startswith(("general_settings", "litellm_settings"))}  # fmt: skip
    assert "hidden" not in str(config.warnings) + repr(config)
    assert verdicts("environment: {completion_model: m}") == {"environment": "unknown"}


@pytest.mark.parametrize("at", ["{}", "litellm_settings: {}", "general_settings: {}"])
def test_a_cache_that_is_described(at: str) -> None:
    described = "cache: {type: redis, host: h, port: 6379, ttl: 60}"
    config = parse(at.format(f"{{{described}}}") if at != "{}" else described, {})
    assert config.litellm.cache is True and config.litellm.cache_params == {
        "type": "redis",
        "host": "h",
        "port": 6379,
        "ttl": 60,
    }
    assert parse("cache: {enabled: false, type: redis, host: h}", {}).litellm.cache is False


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings"])
def test_an_alias_of_several_models_falls_back(section: str) -> None:
    config = parse(
        "router_settings: {model_group_alias: {fast: [a, b, c], odd: [a, 5]}}\n"
        if section == "router_settings"
        else "router_settings: {model_group_alias: {fast: [a, b, c]}}\nlitellm_settings: {fallbacks: [{x: [y]}]}\n",
        {},
    )
    assert config.router.model_group_alias == {"fast": "a"}
    if section == "router_settings":
        assert config.router.fallbacks == [{"fast": ["b", "c"]}]
    else:
        assert config.litellm.fallbacks == [{"x": ["y"]}, {"fast": ["b", "c"]}] and not config.router.fallbacks
    assert {key.place: key.verdict for key in config.keys}["router_settings.model_group_alias.fast"] == "differently"
    assert fallbacks.of(fallbacks.routes(config), "a", "fast") == [("b", ""), ("c", "")]
    assert not fallbacks.of(fallbacks.routes(config), "a", "a")


@pytest.mark.parametrize(
    "name", ["callback_settings", "general_settings", "litellm_settings", "router_settings", "environment_variables"]
)
def test_an_empty_section_of_any_shape_is_empty(name: str) -> None:
    for empty in ("[]", "''", "{}", ""):
        config = parse(f"{name}: {empty}\n", {})
        assert not config.warnings and not config.keys
    with pytest.raises(ConfigError, match=f"{name} must be a mapping"):
        parse(f"{name}: [a]\n", {})


def test_a_map_of_aliases_anywhere_is_the_routers() -> None:
    for text in ("model_alias_map: {a: b}", "litellm_settings: {model_alias_map: {a: b}}"):
        config = parse(text, {})
        assert config.router.model_group_alias == {"a": "b"} and config.keys[0].verdict == "differently"


def test_retries_in_a_policy() -> None:
    config = parse("router_settings: {retry_policy: {max_retries: 2, retry_delay: 1.5, TimeoutErrorRetries: 3}}", {})
    assert (config.router.num_retries, config.router.retry_after) == (2, 1.5)
    assert config.router.retry_policy == {"TimeoutErrorRetries": 3}
    own = parse("router_settings: {num_retries: 5, retry_policy: {max_retries: 2}}", {})
    assert own.router.num_retries == 5 and "retry_policy.max_retries: not used" in str(own.warnings)


def test_one_name_where_a_list_of_them_is_meant() -> None:
    config = parse(
        "litellm_settings: {default_fallbacks: b}\ngeneral_settings: {allowed_ips: 10.0.0.1, admin_only_routes: /x}", {}
    )
    assert config.litellm.default_fallbacks == ["b"]
    assert config.general.allowed_ips == ["10.0.0.1"] and config.general.admin_only_routes == ["/x"]
    with pytest.raises(ConfigError, match="pass_through_endpoints"):
        parse("general_settings: {pass_through_endpoints: /x}", {})


def test_otel_in_general_settings_is_the_callback() -> None:
    for given, names in (
        ("litellm_settings: {callbacks: [langfuse]}", ["langfuse", "otel"]),
        ("litellm_settings: {callbacks: otel}", ["otel"]),
        ("{}", ["otel"]),
    ):
        config = parse(f"general_settings: {{otel: true}}\n{given if given != '{}' else ''}", {})
        assert config.litellm.callbacks == names == config.litellm_settings["callbacks"]
        verdicts = {key.place: key.verdict for key in config.keys}
        assert verdicts["general_settings.otel"] == "acts"


def test_a_policys_kind_without_its_last_word() -> None:
    config = parse("router_settings: {retry_policy: {TimeoutRetries: 2, RateLimitErrorRetries: 1}}", {})
    assert config.router.retry_policy == {"TimeoutErrorRetries": 2, "RateLimitErrorRetries": 1}
    verdicts = {key.place: key.verdict for key in config.keys}
    assert verdicts["router_settings.retry_policy.TimeoutRetries"] == "differently"
