"""Every key has its meaning, somebody who acts on it, and a place that reads it; what nobody acts
on is said.
"""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest
from msgspec import Struct

from shared.config import callbacks, deployments, opening, parse, without_effect
from shared.config.fields import known
from shared.config.schema import EntryInfo, EntryParams, GeneralSettings, LitellmSettings, RouterSettings

ROOT = Path(__file__).resolve().parents[2]
SECTIONS: dict[type[Struct], str] = {
    GeneralSettings: "general", LitellmSettings: "litellm", RouterSettings: "router", EntryParams: "params", EntryInfo: "info",
}  # fmt: skip
SERVICES = ("edge", "policy", "moderation", "ledger", "suite", "config")
FIELDS = [(kind, name, field.by) for kind in SECTIONS for name, field in known(kind).items()]
IDS = [f"{SECTIONS[kind]}.{name}" for kind, name, _ in FIELDS]


AS = {
    "cooldown_time": "cooldown_s", "stream_timeout": "stream_timeout_ms", "timeout": "timeout_ms", "azure_authority_host": "azure_authority",
    "max_retries": "retries", "num_retries": "retries", "max_input_tokens": "input_tokens_max",
    "team_public_model_name": "team_name",
}  # fmt: skip
"""A field of an entry → what Deployment calls it."""


@cache
def source(service: str) -> str:
    where = ROOT / "shared" / "config" if service == "config" else ROOT / "services" / service
    files = [path for path in where.rglob("*.py") if path.parent.name != "schema"]
    if service == "config":
        files += [ROOT / "shared" / "logging.py", ROOT / "shared" / "secrets" / "settings.py"]
    if service != "config":  # what is shared reads for the service that calls it
        files += [path for path in (ROOT / "shared").rglob("*.py") if "config" not in path.relative_to(ROOT).parts]
    return "\n".join(path.read_text() for path in files)


@pytest.mark.parametrize(("kind", "name", "by"), FIELDS, ids=IDS)
def test_who_acts_reads_it(kind: type[Struct], name: str, by) -> None:  # type: ignore[no-untyped-def]
    reads = re.compile(
        rf"\b({SECTIONS[kind]}|deployment|settings|each|row)\.({name}|{AS.get(name, name)})\b"
        rf"|\"{name}\""
    )
    if name in ("max_request_size_mb", "max_response_size_mb", "max_file_size_mb"):  # read as f"max_{what}_size_mb"
        reads = re.compile(r"_size_mb\"")
    for service in by.services:
        assert service in SERVICES
        assert reads.search(source(service)), f"nobody in {service} reads {name}"
    if not by.services:
        section = re.compile(rf"\b(config|configuration|loaded)\.{SECTIONS[kind]}\.{name}\b")
        readers = [service for service in SERVICES if section.search(source(service))]
        assert not readers, f"{name} says that nobody acts on it, and {readers} reads it: name the service in By(...)"


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_field_says_what_it_means(kind: type[Struct]) -> None:
    (tree,) = (
        node
        for node in ast.parse(Path(inspect.getfile(kind)).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    for field, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant), ast.unparse(field)


def test_a_key_is_in_one_table() -> None:
    for kind, idle in (
        (GeneralSettings, without_effect.GENERAL), (LitellmSettings, without_effect.LITELLM),
        (RouterSettings, without_effect.ROUTER), (EntryParams, without_effect.ENTRY),
    ):  # fmt: skip
        assert not set(known(kind)) & set(idle)
    assert not callbacks.GUARDRAILS & callbacks.SINKS
    assert opening.SETTING in known(GeneralSettings) and opening.ALIAS in known(GeneralSettings)


def test_what_is_so_anyway_is_said_to_act() -> None:
    for names, verdict in (
        ("[prometheus]", "acts"),
        ("prometheus", "acts"),
        ("[]", "acts"),
        ("[datadog]", "no effect"),
    ):
        config = parse(f"litellm_settings: {{service_callback: {names}}}", {})
        assert [key.verdict for key in config.keys] == [verdict]
        assert bool(config.warnings) == (verdict == "no effect")


EXAMPLE = """
general_settings: {proxy_batch_write_at: 60, infer_model_from_keys: false, num_retries: 3, telemetry: false, surprising: 1}
litellm_settings: {telemetry: false, http2: true, sett_verbose: true, cache: false, redact_messages_in_exceptions: true}
router_settings: {redis_host: redis, master_key: x}
mcp_servers: {a: {}}
whatever: 1
x-anchors: &a {model: openai/m, api_key: k}
model_list:
- model_name: m
  litellm_params: {<<: *a, temperature: 0.3, context_window: 5}
  rpm: 3
  model_info: {mode: chat, description: mine}
"""


def test_every_key_has_its_word() -> None:
    config = parse(EXAMPLE, {})
    found = {key.place: (key.verdict, key.note) for key in config.keys}
    assert found["general_settings.proxy_batch_write_at"][0] == "acts"
    assert found["general_settings.infer_model_from_keys"] == ("acts", "")
    assert found["general_settings.num_retries"] == (
        "differently",
        "as litellm_settings.num_retries; LiteLLM ignores it here",
    )
    assert config.litellm.num_retries == 3
    assert found["general_settings.surprising"] == ("unknown", "")
    assert found["litellm_settings.telemetry"][0] == "acts"
    assert found["litellm_settings.http2"][0] == "no effect"
    assert found["litellm_settings.sett_verbose"] == ("unknown", "perhaps set_verbose is meant")
    assert found["router_settings.redis_host"][0] == "acts"
    assert found["router_settings.master_key"][0] == "differently" and config.master_key is not None
    assert found["mcp_servers.a"] == ("no effect", "it has no url")
    assert found["whatever"] == ("unknown", "")
    assert found["model_list[0].rpm"][0] == "differently" and config.deployments[0].rpm == 3
    assert found["model_list[0].litellm_params.context_window"][0] == "differently"
    assert config.deployments[0].input_tokens_max == 5
    assert found["model_list[0].litellm_params.model"] == ("acts", "")
    assert found["model_list[0].model_info.description"][0] == "acts"
    if not deployments.PARAMETERS.services:
        assert found["model_list[0].litellm_params.temperature"][0] == "no effect"
    said = "\n".join(config.warnings)
    for key, (verdict, _) in found.items():
        assert (verdict == "acts") or key in said, key
    assert "x-anchors" not in said
