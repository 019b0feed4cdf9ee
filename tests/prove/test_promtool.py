"""The alert rules by Prometheus's own tool (Debian: apt install prometheus), and that the loudest
of them fire when they should.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).resolve().parents[2] / "deploy" / "observability" / "alerts.yaml"

TEST = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'tollgate_ledger_lag_seconds{{stream="TRAFFIC"}}', values: '0 0 70 130 190 250 0'}}
      - {{series: 'tollgate_journal_bytes{{instance="edge-0"}}', values: '0 0 5 5 5 0 0'}}
      - {{series: 'litellm_deployment_failure_responses_total{{model_id="d"}}', values: '0+30x20'}}
      - {{series: 'litellm_deployment_total_requests_total{{model_id="d"}}', values: '0+100x20'}}
      - {{series: 'litellm_deployment_failure_responses_total{{model_id="fine"}}', values: '0+1x20'}}
      - {{series: 'litellm_deployment_total_requests_total{{model_id="fine"}}', values: '0+100x20'}}
    alert_rule_test:
      - {{eval_time: 1m, alertname: TollgateBookBehind, exp_alerts: []}}
      - eval_time: 5m
        alertname: TollgateBookBehind
        exp_alerts:
          - exp_labels: {{severity: critical, stream: TRAFFIC}}
            exp_annotations:
              summary: The book is behind TRAFFIC by 4m 10s
              runbook: "docs/runbook.md#tollgatebookbehind"
      - eval_time: 4m
        alertname: TollgateJournalInUse
        exp_alerts:
          - exp_labels: {{severity: critical, instance: edge-0}}
            exp_annotations:
              summary: "edge-0 writes facts to its journal: the broker doesn't take them"
              runbook: "docs/runbook.md#tollgatejournalinuse"
      - eval_time: 15m
        alertname: TollgateCallsFail
        exp_alerts:
          - exp_labels: {{severity: warning, model_id: d}}
            exp_annotations:
              summary: More than a fifth of the calls to d fail
              runbook: "docs/runbook.md#tollgatecallsfail"
"""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool isn't installed: apt install prometheus")
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60)


def test_the_rules_are_valid() -> None:
    found = promtool("check", "rules", str(RULES))
    assert found.returncode == 0 and "SUCCESS" in found.stdout, found.stderr


def test_they_fire_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_text(TEST.format(rules=RULES))
    found = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert found.returncode == 0, found.stdout + found.stderr
