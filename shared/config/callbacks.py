"""Names that LiteLLM knows in `litellm_settings.callbacks` and its kin, by what they are; and
`callback_settings`, what is said of one of them.

What protects is never left undone in silence: a guardrail that isn't known here refuses the start,
a sink that isn't is named.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from msgspec import Struct

from shared.config import hooks
from shared.config.errors import ConfigError
from shared.config.fields import By, Reading, section
from shared.secrets.value import Secret

GUARDRAILS = frozenset(
    {
        "aim", "aporia", "aporia_prompt_injection", "azure_content_safety", "banned_keywords", "bedrock",
        "detect_prompt_injection", "google_text_moderation", "guardrails_ai", "hide_secrets", "javelin",
        "lakera", "lakera_prompt_injection", "lakera_v2", "llamaguard_moderations", "llmguard_moderations", "openai_moderations",
        "pangea", "pillar", "presidio", "presidio_pii", "prompt_injection", "model_armor",
    }
)  # fmt: skip
"""LiteLLM's guardrails, ours or not."""

SINKS = frozenset(
    {
        "agentops", "aispend", "anthropic_cache_control_hook", "argilla", "arize", "arize_phoenix", "athina", "azure_sentinel",
        "azure_storage", "bigquery", "braintrust", "clickhouse", "cloudzero", "custom_callback_api", "datadog",
        "datadog_llm_observability", "deepeval", "dotprompt", "dynamodb", "email", "galileo", "gcs_bucket", "gcs_pubsub", "generic_api",
        "greenscale", "helicone", "humanloop", "lago", "langfuse", "langfuse_otel", "langsmith", "langtrace", "levo", "lifecycle",
        "literalai", "litedebugger", "logfire", "lunary", "mlflow", "opentelemetry", "openmeter", "opik", "otel", "pagerduty",
        "posthog", "promptlayer", "prometheus", "resend_email", "s3", "s3_v2", "sendgrid_email", "sentry", "slack", "smtp_email",
        "sqs", "supabase", "traceloop", "vector_store_pre_call_hook", "wandb", "weave", "weave_otel", "webhook",
    }
)  # fmt: skip
"""Where LiteLLM can send what happened."""

SENT = frozenset(
    {
        "langfuse", "langfuse_otel", "otel", "opentelemetry", "generic_api", "webhook", "custom_callback_api", "s3", "s3_v2",
        "gcs_bucket", "azure_storage", "arize_phoenix", "logfire", "mlflow", "langsmith", "datadog",
    }
)  # fmt: skip
"""Sinks that the ledger serves: services/ledger/sinks."""

VARIABLES: dict[str, bool] = {
    "langfuse_public_key": False, "langfuse_secret": True, "langfuse_secret_key": True, "langfuse_host": False,
    "langfuse_prompt_version": False, "langfuse_project": False, "langfuse_sampling_rate": False,
    "otel_exporter_otlp_endpoint": False, "otel_endpoint": False, "otel_exporter_otlp_headers": True, "otel_headers": True,
    "generic_logger_endpoint": True, "webhook_url": True, "generic_logger_headers": True, "generic_logger_signing_secret": True,
    "phoenix_collector_endpoint": False, "phoenix_collector_http_endpoint": False, "phoenix_api_key": True,
    "phoenix_project_name": False, "logfire_token": True, "logfire_base_url": False, "mlflow_tracking_uri": False,
    "mlflow_experiment_id": False, "mlflow_tracking_token": True, "langsmith_api_key": True, "langsmith_project": False,
    "langsmith_base_url": False, "langsmith_tenant_id": False, "dd_api_key": True, "dd_site": False, "dd_agent_host": False,
    "dd_agent_port": False, "dd_source": False, "dd_service": False, "dd_env": False,
    "turn_off_message_logging": False,
}  # fmt: skip
"""`callback_vars` of keys and teams -> whether the value is a secret: an address that others send
to is one (it may hold a token).
"""


_LANGFUSE = (("langfuse_public_key",), ("langfuse_secret_key", "langfuse_secret"))
_OTEL = (("otel_exporter_otlp_endpoint", "otel_endpoint"),)
_WEBHOOK = (("generic_logger_endpoint", "webhook_url"),)
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "langfuse": _LANGFUSE, "langfuse_otel": _LANGFUSE, "otel": _OTEL, "opentelemetry": _OTEL, "generic_api": _WEBHOOK,
    "webhook": _WEBHOOK, "custom_callback_api": _WEBHOOK,
    "arize_phoenix": (("phoenix_collector_endpoint", "phoenix_collector_http_endpoint"),), "logfire": (("logfire_token",),),
    "mlflow": (("mlflow_tracking_uri",),), "langsmith": (("langsmith_api_key",),),
    "datadog": (("dd_agent_host", "dd_api_key"), ("dd_agent_host", "dd_site")),
}  # fmt: skip
"""Callback of a key or team -> of which variables one each is needed. Those that aren't here are
the configuration's alone.
"""


def lacks(name: str, variables: Mapping[str, Any]) -> str:
    """Why nothing can be sent to a key's or team's callback; empty: something can."""
    if name not in NEEDED:
        return f"{name} can be set in the configuration only"
    missing = [" or ".join(some) for some in NEEDED[name] if not any(variables.get(each) for each in some)]
    return f"{name} needs {' and '.join(missing)}" if missing else ""


def is_secret(variable: str) -> bool:
    """Also of variables that we don't know, which only facts of before can hold."""
    return VARIABLES.get(variable, True)


TYPES = ("success", "failure", "success_and_failure")
"""`callback_type`."""

ALWAYS = {
    "prometheus": "`/metrics` is there without it",
    "prometheus_system": "each service's `/metrics` tells of itself",
    "db": "every call is in the book",
    "blocked_user_check": "policy looks at blocked_user_list",
}
"""Neither guardrails nor sinks here, and what they ask for is done."""


class CallbackSettings(Struct, frozen=True, kw_only=True):
    """`callback_settings.<name>`: what is said of one sink of the file."""

    message_logging: Annotated[bool, By("ledger")] = True
    """false: it gets no prompts and answers."""
    turn_off_message_logging: Annotated[bool, By("ledger")] = False
    """true: the same."""
    callback_type: Annotated[Literal["generic_api"] | None, By("ledger")] = None
    """generic_api: the name is the operator's own, and means an address that gets what
    `generic_api` sends.
    """
    endpoint: Annotated[str | None, By("ledger")] = None
    """That address."""
    headers: Annotated[dict[str, Secret], By("ledger")] = {}
    """Of what goes there."""

    @property
    def shows_content(self) -> bool:
        return self.message_logging and not self.turn_off_message_logging


NOTHING_SAID = CallbackSettings()


def read_settings(values: Mapping[str, Any], reading: Reading) -> dict[str, CallbackSettings]:
    """`callback_settings` by the callback's name. Raises ConfigError."""
    found = {}
    for name, given in values.items():
        at = f"callback_settings.{name}"
        own = isinstance(given, Mapping) and given.get("callback_type") is not None
        if not isinstance(given, Mapping):
            raise ConfigError(f"{at} must be a mapping")
        if not own and name not in SENT:
            why = "it has no settings" if name in ALWAYS else "calls aren't sent there"
            reading.say(at, "no effect", why)
            reading.warn(f"{at}: not used ({why})")
            continue
        found[str(name)] = one = section(CallbackSettings, given, at, {}, reading)
        if own and not one.endpoint:
            raise ConfigError(f"{at}.endpoint must be an address")
        if any(sign in value.reveal() for value in one.headers.values() for sign in ",\r\n"):
            raise ConfigError(f"{at}.headers: a header can't have a comma or a line's end in it")
    return found


def kind(name: str) -> str:
    """guardrail, sink, python (a class of the operator's own) or unknown."""
    if name in GUARDRAILS:
        return "guardrail"
    if name in SINKS:
        return "sink"
    return "python" if "." in name else "unknown"


def only_always(value: object) -> str:
    """Why a list of callbacks asks for nothing that isn't so anyway; "" where it does."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name in ALWAYS for name in names):
        return ""
    return "; ".join(f"{name}: {ALWAYS[name]}" for name in names)


def idle(value: object, directory: str, own: Collection[str] = ()) -> list[str]:
    """Of a list of callbacks: what does nothing, each with the reason. Guardrails aren't looked at:
    an unknown one refuses the start.

    Args:
        directory: where the configuration lies, and Python of the operator's own.
        own: names that `callback_settings` gives an address.
    """
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    reasons = []
    for name in names:
        what = kind(str(name))
        if what == "python":
            why = hooks.why_not(str(name), directory)
            if why:
                reasons.append(f"{name}: {why}")
            elif others := hooks.not_called(str(name), directory):
                reasons.append(f"{name}: its {', '.join(others)} isn't called")
        elif what == "sink" and name not in SENT and name not in ALWAYS:
            reasons.append(f"{name}: calls aren't sent there")
        elif what == "unknown" and name not in ALWAYS and name not in own:
            reasons.append(f"{name}: not known, does nothing")
    return reasons
