"""Files as people write them, in our words: each starts, serves what it lists, and has a word about
every key.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from services.edge import configured, front
from services.edge.providers import table
from services.ledger.alerts import settings as alerts
from services.ledger.sinks import choose
from services.moderation.guardrails import table as moderation
from services.moderation.guardrails.parts import Parts as MParts
from services.policy import catalog
from shared import guardrails, prices
from shared.config import Config, load, reading, references
from shared.outbound import Guard, Outbound, OutboundSettings

FOLDER = Path(__file__).parent / "likeness"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "models")
OWN: dict[str, dict[str, str]] = json.loads((FOLDER / "environment.json").read_text())
LEFT_OUT = {
    "one_key_is_missing": {
        "not-there": "NOBODY_SET_THIS is not set",
        "unknown-provider": "whose it is",
        "not-spoken": "isn't served",
    },
}
"""What can't be served, and why. Everything else is."""
USUAL = dict.fromkeys(
    (
        "LITELLM_MASTER_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY", "OPENROUTER_API_KEY",
        "COHERE_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    ),
    "sk-of-this-test-0123456789",
) | {"AWS_REGION_NAME": "us-east-1"}  # fmt: skip
UNSET = ("NOBODY_SET_THIS", "TUNED_MODEL")


def environment(name: str) -> dict[str, str]:
    """Every variable that the file refers to is set, but those of UNSET."""
    found = dict(USUAL)
    top, _ = reading.tree((FOLDER / f"{name}.yaml").read_text("utf-8"), name)
    for reference in references.collect(top):
        variable = reference.removeprefix("os.environ/")
        is_address = any(word in variable for word in ("BASE", "HOST", "URL"))
        found.setdefault(variable, "http://somewhere.example" if is_address else "sk-of-this-test-0123456789")
    return {key: value for key, value in (found | OWN.get(name, {})).items() if key not in UNSET}


def loaded(name: str) -> tuple[Config, dict[str, str]]:
    environ = environment(name)
    return load(str(FOLDER / f"{name}.yaml"), environ), environ


def test_there_are_enough() -> None:
    assert len(NAMES) >= 40


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_and_serves_what_it_lists(name: str) -> None:
    config, environ = loaded(name)
    made = catalog.build(config, prices.lookup, environ)
    expected = LEFT_OUT.get(name, {})
    assert {each.model_name for each in config.left_out} == set(expected)
    for each in config.left_out:
        assert expected[each.model_name] in each.reason
        assert each.model_name in made.left_out and not made.candidates(each.model_name)
    uncallable: dict[Any, str] = {}
    targets = table.build(config.deployments, "tollgate", config.litellm, environ, uncallable)
    assert not uncallable
    for deployment in config.deployments:
        assert deployment.id in targets
        asked = deployment.model_name.replace("*", "some-model")
        assert deployment.id in [candidate.deployment_id for candidate in made.candidates(asked)]


@pytest.mark.parametrize("name", NAMES)
async def test_every_service_takes_it(name: str, tmp_path: Path) -> None:
    """That the file can be read isn't enough: each service reads its part at its start."""
    config, environ = loaded(name)
    environ |= {variable: value.reveal() for variable, value in config.variables.items()}
    outbound = Outbound(OutboundSettings.read(environ), Guard(any_address=True))
    try:
        assert configured.read(config, environ, outbound, "127.0.0.1").config is config
        lasting = front.lasting(config, environ, outbound, outbound, str(tmp_path))
        await lasting["alerts"].close()
        if lasting["cache"] is not None:
            await lasting["cache"].store.close()
        parts = MParts(config=config, environ=environ, cache_dir=str(tmp_path), outbound=outbound)
        if any(each.spec.integration != "hide-secrets" for each in guardrails.enabled(config)):
            made = {each.enabled.name for each in moderation.load(parts)}
            assert made == {each.name for each in guardrails.enabled(config)}
        alerts.read(config.general_settings, environ)
        choose.of_config(config.litellm_settings, config.directory, config.callback_settings)
    finally:
        await outbound.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_key_has_its_word(name: str) -> None:
    config, _ = loaded(name)
    top, _ = reading.tree((FOLDER / f"{name}.yaml").read_text("utf-8"), name)
    said = {key.place for key in config.keys}
    left_out = {each.place for each in config.left_out}
    sections = ("general_settings", "litellm_settings", "router_settings")
    wanted = [f"{section}.{key}" for section in sections for key in top.get(section) or {}]
    for number, entry in enumerate(top.get("model_list") or []):
        if f"model_list[{number}]" not in left_out:
            for part in ("litellm_params", "model_info"):
                wanted += [f"model_list[{number}].{part}.{key}" for key in entry.get(part) or {}]
    assert not [place for place in wanted if place not in said]
    unheard = [key.place for key in config.keys if key.verdict in ("no effect", "unknown")]
    warnings = "\n".join(config.warnings)
    assert not [place for place in unheard if place not in warnings]


def test_what_is_odd_is_said() -> None:
    def warnings(name: str) -> str:
        return "\n".join(loaded(name)[0].warnings)

    assert "num_retries is there twice" in warnings("duplicate_keys")
    wrong = warnings("wrong_sections")
    assert "general_settings.cache: read as litellm_settings.cache" in wrong
    assert "router_settings.drop_params: read as litellm_settings.drop_params" in wrong
    assert "model_list[0].rpm: read as model_list[0].litellm_params.rpm" in wrong
    (deployment,) = loaded("file_variables")[0].deployments
    assert deployment.api_key is not None and deployment.api_key.reveal() == "sk-team"
    numbers = loaded("numbers_for_strings")[0]
    (deployment,) = numbers.deployments
    assert (deployment.model_name, deployment.id, deployment.extra_headers) == (
        "7",
        "42",
        {"X-Team": "7", "X-Flag": "True"},
    )
    assert deployment.timeout_ms == 60_000 and numbers.master_key is not None
    tuned = loaded("shell_braces")[0].deployments[1]
    assert tuned.upstream_model == "gpt-4o-mini"
    assert [each.model_name for each in loaded("include_others")[0].deployments] == ["included"]
    by_name = loaded("credentials_by_name")[0].deployments
    assert {each.api_base for each in by_name} == {"https://acme.openai.azure.com"} and all(
        each.api_key for each in by_name
    )


def test_what_a_platform_team_writes_acts_whole() -> None:
    config, _ = loaded("teams_and_checks")
    assert {key.verdict for key in config.keys} == {"acts"} and not config.warnings
