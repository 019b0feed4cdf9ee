"""What a service couldn't start with is named, and costs no more than what it asks for; and where
the variables of sinks and alerts are read from.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.ledger.alerts import settings as alerts
from shared import startup
from shared.config import parse
from shared.config.errors import ConfigError
from shared.config.schema.router import StrategyArgs


def said(text: str, environ: dict[str, str] | None = None) -> tuple[Any, dict[str, tuple[str, str]]]:
    config = parse(text, environ or {})
    return config, {key.place: (key.verdict, key.note) for key in config.keys}


@pytest.mark.parametrize(
    ("channel", "lacks", "environ"),
    [
        ("slack", "SLACK_WEBHOOK_URL", {"SLACK_WEBHOOK_URL": "https://hooks.example/x"}),
        ("webhook", "WEBHOOK_URL", {"WEBHOOK_URL": "https://hooks.example/x"}),
        (
            "email",
            "SMTP_HOST and SMTP_SENDER_EMAIL",
            {"SMTP_HOST": "h", "SMTP_SENDER_EMAIL": "a@b", "ALERT_EMAIL_TO": "c@d"},
        ),
    ],
)
def test_a_channel_that_can_tell_nobody_is_named_and_left_out(
    channel: str, lacks: str, environ: dict[str, str]
) -> None:
    text = f"general_settings: {{alerting: [{channel}]}}"
    config, keys = said(text)
    assert config.general.alerting == [] and config.general_settings["alerting"] == []
    assert keys["general_settings.alerting[0]"] == ("no effect", f"{channel} needs {lacks}")
    assert config.warnings == [f"general_settings.alerting[0]: not used ({channel} needs {lacks})"]
    assert parse(text, environ).general.alerting == [channel]


def test_other_channels_stay() -> None:
    config, keys = said("general_settings: {alerting: [pager, 5, slack]}", {"SLACK_WEBHOOK_URL": "https://h.example"})
    assert config.general.alerting == ["slack"]
    assert [keys[f"general_settings.alerting[{n}]"][0] for n in (0, 1)] == ["no effect", "no effect"]
    assert parse("general_settings: {alerting: [slack], alert_to_webhook_url: {a: b}}", {}).general.alerting == [
        "slack"
    ]


def test_a_number_that_no_alert_can_have_is_named_and_the_usual_one_used() -> None:
    args = "{book_behind_s: -1, spend_anomaly_factor: '7', report_check_interval: 9}"
    config, keys = said(
        f"general_settings: {{alerting: [slack], alerting_threshold: 0, alerting_args: {args}}}",
        {"SLACK_WEBHOOK_URL": "https://h.example"},
    )
    for place in ("alerting_threshold", "alerting_args.book_behind_s"):
        assert keys[f"general_settings.{place}"][0] == "no effect"
    found = alerts.read(config.general_settings, {"SLACK_WEBHOOK_URL": "https://h.example"})
    assert found is not None and (found.threshold_s, found.behind_s, found.anomaly_factor) == (300.0, 60.0, 7.0)


@pytest.mark.parametrize(
    ("params", "kind", "verdict"),
    [
        ("type: redis-semantic, host: h, similarity_threshold: 0.8", "redis", "differently"), ("type: s3", "nats", "differently"),
        ("type: qdrant-semantic", "nats", "differently"), ("type: disk", "nats", "differently"), ("type: memory", "local", "differently"),
    ],
)  # fmt: skip
def test_another_cache_is_done_as_it_can_be(params: str, kind: str, verdict: str) -> None:
    config, keys = said(f"litellm_settings: {{cache: true, cache_params: {{{params}}}}}")
    assert config.litellm.cache is True and config.litellm.cache_params["type"] == kind
    assert keys["litellm_settings.cache_params.type"][0] == verdict


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ("type: redis", "REDIS_HOST"), ("type: by-the-moon", "by-the-moon"), ("type: redis, url: 'http://h'", "redis, rediss"),
    ],
)  # fmt: skip
def test_a_cache_that_nobody_can_keep_is_off_and_named(params: str, why: str) -> None:
    for on in ("litellm_settings: {cache: true, ", "router_settings: {cache_responses: true}\nlitellm_settings: {"):
        config, keys = said(f"{on}cache_params: {{{params}}}}}")
        assert config.litellm.cache is not True and not config.router.cache_responses
        assert any(verdict == "no effect" and why in note for verdict, note in keys.values())
        assert any(why in sentence for sentence in config.warnings)


def test_a_time_that_the_environment_says_is_a_number() -> None:
    text = "litellm_settings: {cache: true, cache_params: {type: local, ttl: os.environ/TTL}}"
    assert parse(text, {"TTL": "60"}).litellm.cache_params["ttl"] == 60
    config, keys = said(text, {"TTL": "soon"})
    assert "ttl" not in config.litellm.cache_params and config.litellm.cache is True
    assert keys["litellm_settings.cache_params.ttl"] == ("no effect", "it must be a number of seconds")


def test_of_a_policy_the_failures_that_there_are() -> None:
    config, keys = said(
        "router_settings:\n"
        "  retry_policy: {TimeoutErrorRetries: 2, RateLimitErrorRetries: '3', max_retries: 5, BadRequestErrorRetries: -1}\n"
        "  allowed_fails_policy: {TimeoutErrorAllowedFails: 7, TimeoutErrorRetries: 1}\n"
        "  model_group_retry_policy: {m: {InternalServerErrorRetries: 1, ContentPolicyViolationRetries: 0}}\n"
    )
    assert config.router.retry_policy == {"TimeoutErrorRetries": 2, "RateLimitErrorRetries": 3}
    assert config.router.allowed_fails_policy == {"TimeoutErrorAllowedFails": 7}
    assert config.router.model_group_retry_policy == {
        "m": {"InternalServerErrorRetries": 1, "ContentPolicyViolationErrorRetries": 0}
    }
    idle = {place for place, (verdict, _) in keys.items() if verdict == "no effect"}
    assert idle == {
        "router_settings.retry_policy.BadRequestErrorRetries",
        "router_settings.allowed_fails_policy.TimeoutErrorRetries",
    }  # fmt: skip


def test_a_provider_without_a_budget_has_none_and_one_that_cannot_be_read_refuses() -> None:
    config, keys = said(
        "router_settings: {provider_budget_config: {mistral: {rpm_limit: 5}, openai: {budget_limit: 1, time_period: 1d}}}"
    )
    assert list(config.router.provider_budget_config) == ["openai"]
    assert keys["router_settings.provider_budget_config.mistral"] == ("no effect", "it says no budget_limit")
    with pytest.raises(ConfigError, match="budget_limit"):
        parse("router_settings: {provider_budget_config: {openai: {budget_limit: lots}}}", {})


def test_who_may_see_the_admin_page_is_never_more_than_was_meant() -> None:
    config, keys = said("general_settings: {ui_access_mode: admin}")
    assert config.general_settings["ui_access_mode"] == "admin_only"
    assert keys["general_settings.ui_access_mode"][0] == "differently"
    assert [key.place for key in config.keys] == ["general_settings.ui_access_mode"]
    assert "read as admin_only" in config.warnings[0]
    assert parse("general_settings: {ui_access_mode: all}", {}).general_settings["ui_access_mode"] == "all"


def opened(file: Path, text: str, environ: dict[str, str], service: str) -> Any:
    file.write_text(text, "utf-8")
    return asyncio.run(startup.configuration(str(file), environ, service))[1]


def test_the_files_variables_are_every_services_environment(tmp_path: Path) -> None:
    text = "environment_variables: {LANGFUSE_HOST: os.environ/WHERE, SLACK_WEBHOOK_URL: s, TOLLGATE_NATS_URL: n, EMPTY: ''}\n"
    given = {"WHERE": "https://langfuse.example", "SLACK_WEBHOOK_URL": "of the environment", "EMPTY": "e"}
    for service in ("edge", "policy", "moderation", "ledger"):
        found = opened(tmp_path / "c.yaml", text, given, service)
        assert found["LANGFUSE_HOST"] == "https://langfuse.example" and found["SLACK_WEBHOOK_URL"] == "s"
        assert found["EMPTY"] == "e" and "TOLLGATE_NATS_URL" not in found
    _, keys = said(text, given)
    assert keys["environment_variables.TOLLGATE_NATS_URL"][0] == "no effect"


@pytest.mark.parametrize(
    "text",
    [
        "litellm_settings: {langfuse_public_key: os.environ/PK, langfuse_secret: sk-hidden, langfuse_host: 'https://l.example'}",
        "general_settings: {langfuse_public_key: os.environ/PK, langfuse_secret_key: sk-hidden, langfuse_host: 'https://l.example'}",
        "langfuse_settings: {public_key: os.environ/PK, secret_key: sk-hidden, host: 'https://l.example'}",
        "langfuse: {langfuse_public_key: os.environ/PK, langfuse_secret_key: sk-hidden, langfuse_host: 'https://l.example'}",
    ],
)
def test_what_a_section_says_of_a_sink_is_its_variable(text: str, tmp_path: Path) -> None:
    found = opened(tmp_path / "c.yaml", text, {"PK": "pk"}, "ledger")
    secret = found.get("LANGFUSE_SECRET_KEY") or found["LANGFUSE_SECRET"]
    assert (found["LANGFUSE_PUBLIC_KEY"], secret, found["LANGFUSE_HOST"]) == ("pk", "sk-hidden", "https://l.example")
    config, keys = said(text, {"PK": "pk"})
    assert {verdict for verdict, _ in keys.values()} == {"differently"} and len(config.warnings) == len(keys)
    assert "sk-hidden" not in repr(config) + str(config.litellm_settings) + str(config.general_settings)


def test_the_environment_goes_before_what_a_section_says_of_a_sink(tmp_path: Path) -> None:
    text = "litellm_settings: {langfuse_public_key: os.environ/LANGFUSE_PUBLIC_KEY, langfuse_host: 'https://of-the-file.example'}"
    environ = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_HOST": "https://other.example"}
    assert opened(tmp_path / "c.yaml", text, environ, "ledger")["LANGFUSE_HOST"] == "https://other.example"
    _, keys = said(text, environ)
    assert keys["litellm_settings.langfuse_public_key"] == ("acts", "the environment says it too")
    assert keys["litellm_settings.langfuse_host"] == ("no effect", "the environment says another LANGFUSE_HOST")


def test_of_e_mail_too(tmp_path: Path) -> None:
    text = (
        "general_settings: {alerting: [email], alerting_args: {email_to: [a@b]}}\n"
        "email_settings: {sender_name: T, sender_email: t@b, smtp_host: mail.example, smtp_port: 25}\n"
    )
    config, keys = said(text)
    assert config.general.alerting == ["email"] and keys["email_settings"][0] == "differently"
    found = opened(tmp_path / "c.yaml", text, {}, "ledger")
    assert (found["SMTP_HOST"], found["SMTP_PORT"], found["SMTP_SENDER_EMAIL"]) == ("mail.example", "25", "t@b")
    _, keys = said("email_settings: {colour: red}")
    assert keys["email_settings.colour"][0] == "unknown"


def test_of_providers_too_but_no_door() -> None:
    text = "general_settings: {openai_api_key: sk-of-the-file, ui_username: me, ui_password: hidden-9}\n"
    text += "model_list: [{model_name: m, litellm_params: {model: gpt-4o}}]"
    config, keys = said(text)
    (deployment,) = config.deployments
    assert deployment.api_key is not None and deployment.api_key.reveal() == "sk-of-the-file"
    assert keys["general_settings.ui_password"] == ("no effect", "UI_PASSWORD is the environment's alone")
    assert "UI_PASSWORD" not in config.variables and "hidden-9" not in repr(config)
    _, keys = said("general_settings: {ui_username: os.environ/UI_USERNAME}", {"UI_USERNAME": "me"})
    assert keys["general_settings.ui_username"] == ("acts", "the environment says it too")


def test_only_who_tells_people_knows_whether_it_can() -> None:
    text = "general_settings: {alerting: [slack, email, webhook]}\nlitellm_settings: {cache: true, cache_params: {type: redis}}"
    for service, kept, cached in (
        ("policy", ["slack", "email", "webhook"], True), ("moderation", ["slack", "email", "webhook"], True),
        ("edge", ["email", "webhook"], False), ("ledger", [], True),
    ):  # fmt: skip
        config = parse(text, {}, service=service)
        assert config.general.alerting == kept and config.litellm.cache is cached, service


def test_settings_of_a_strategy_each_by_itself() -> None:
    config = parse(
        "router_settings: {routing_strategy_args: {ttl: '60', lowest_latency_buffer: much, max_latency: 3}}", {}
    )
    assert config.router.routing_strategy_args == StrategyArgs(ttl=60)
    notes = {key.place.rpartition(".")[2]: (key.verdict, key.note) for key in config.keys}
    assert notes["lowest_latency_buffer"] == ("no effect", "it must be a number")
    assert notes["max_latency"] == ("no effect", "it is none of lowest_latency_buffer, ttl")
    assert notes["routing_strategy_args"][0] == "acts"


def test_an_alert_that_nobody_knows_costs_itself_alone() -> None:
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.example/x"}
    text = "general_settings: {alerting: [slack], alert_types: [%s]}"
    config, keys = said(text % "llm_exceptions, new_moon", environ)
    assert keys["general_settings.alert_types[1]"] == ("no effect", "there is no alert 'new_moon'")
    found = alerts.read(config.general_settings, environ)
    assert found is not None and found.types == {"llm_exceptions"}
    config, _ = said(text % "new_moon", environ)
    found = alerts.read(config.general_settings, environ)
    assert found is not None and found.wants("chain_broken"), "a slip of the pen doesn't silence what is always told"
    assert not found.wants("llm_exceptions"), "none of those that were asked for, instead of the usual ones"
