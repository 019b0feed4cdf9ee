"""/callbacks/configs: which sinks a key or team may have its calls sent to, and what each needs,
for whoever makes a form of it. From the tables that what is sent is checked by.
"""

from typing import Any

from services.policy.plan import Call, Plan
from shared.config import callbacks

_WEB = ("generic_logger_", "webhook_")
PREFIXES = {
    "langfuse": ("langfuse_",), "langfuse_otel": ("langfuse_",), "otel": ("otel_",), "opentelemetry": ("otel_",),
    "generic_api": _WEB, "webhook": _WEB, "custom_callback_api": _WEB,
    "arize_phoenix": ("phoenix_",), "logfire": ("logfire_",), "mlflow": ("mlflow_",), "langsmith": ("langsmith_",),
    "datadog": ("dd_",),
}  # fmt: skip
"""Sink of a key or team → what the names of its variables begin with."""


def configs(call: Call) -> Plan:
    return Plan([_form(name) for name in sorted(callbacks.SENT)])


def _form(name: str) -> dict[str, Any]:
    needed = {variable for some in callbacks.NEEDED.get(name, ()) for variable in some[:1]}
    variables = [each for each in callbacks.VARIABLES if each.startswith(PREFIXES.get(name, ("\0",)))]
    return {
        "id": name,
        "displayName": _words(name),
        "supports_key_team_logging": name in callbacks.NEEDED,
        "dynamic_params": {each: _param(each, required=each in needed) for each in variables},
    }


def _param(variable: str, *, required: bool) -> dict[str, Any]:
    kind = "password" if callbacks.is_secret(variable) else "text"
    return {"type": kind, "ui_name": _words(variable), "required": required}


def _words(name: str) -> str:
    return " ".join(word.capitalize() for word in name.split("_"))
