"""What dashboard and rules ask for is there: every metric's name is one that a service exposes,
every rule has its line in the runbook.
"""

import json
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

import services.edge.metrics
import services.edge.payload
import services.edge.series
import services.ledger.metrics
import services.moderation.metrics
import services.policy.metrics
import shared.service
from shared import service, subjects
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import Verdict
from tests.edge.harness import Edge, dead_url

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "observability"
_NAME = re.compile(r"\b(?:tollgate|litellm)_[a-z0-9_]+")
MODULES = (services.edge, services.ledger, services.moderation, services.policy, shared.service)


async def exposed() -> set[str]:
    """Names of samples after calls that succeed, fail, stream, and are checked."""
    guarded = [GuardrailRef("g", ["pre_call"])]
    async with Edge({"m": ["mock:hi"], "bad": [dead_url()]}, guardrails=guarded) as edge:
        await edge.chat()
        await edge.chat(stream=True)
        await edge.chat("bad")
        edge.bus.answers[subjects.MODERATION_SCREEN] = lambda _: Verdict(
            "error", [GuardrailOutcome("g", "pre_call", "error")]
        )
        await edge.chat()
    found = set()
    for family in text_string_to_metric_families(b"".join(service.exposition()).decode()):
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + end for end in ends}
    return found


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


async def test_every_metric_that_is_asked_for_is_exposed() -> None:
    board = json.loads((HERE / "grafana.json").read_text())
    asked = {str(rule["alert"]): str(rule["expr"]) for rule in rules()}
    asked |= {
        f"{panel['title']} {t['refId']}": t["expr"] for panel in board["panels"] for t in panel.get("targets", ())
    }
    assert len(asked) > 40
    there = await exposed()
    missing = {where: sorted(set(_NAME.findall(expr)) - there) for where, expr in asked.items()}
    assert not {where: names for where, names in missing.items() if names}
    litellms = {
        "litellm_proxy_total_requests_metric_total", "litellm_proxy_failed_requests_metric_total",
        "litellm_request_total_latency_metric_bucket", "litellm_request_total_latency_metric_sum",
        "litellm_request_total_latency_metric_count",
    }  # fmt: skip
    assert litellms <= there, "what LiteLLM's own dashboard asks for, but for two old names: docs/metrics.md"
    assert all(_NAME.search(expr) or "up{" in expr for expr in asked.values())


def test_every_rule_has_its_line_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    told = dict(re.findall(r"^### (\w+)\n(.+)$", runbook, re.MULTILINE))
    assert set(told) == {rule["alert"] for rule in rules()}
    for rule in rules():
        annotations, labels = rule["annotations"], rule["labels"]
        assert isinstance(annotations, dict) and isinstance(labels, dict)
        assert annotations["runbook"] == f"docs/runbook.md#{str(rule['alert']).lower()}"
        assert labels["severity"] in ("critical", "warning", "info")
    assert all(len(line) > 40 for line in told.values())
