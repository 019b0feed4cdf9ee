"""LiteLLM's own Python client (`litellm.proxy.client`) against a suite of ours, unchanged.

Needs the Python of an environment with litellm in `LITELLM_PYTHON`; run by `make prove`, skipped
without it.
"""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.live.effective import CONFIG
from tests.support.suite import MASTER_KEY, RunningSuite

PYTHON = os.environ.get("LITELLM_PYTHON", "")
CALLS = Path(__file__).with_name("litellm_client_calls.py")


@pytest.mark.skipif(not PYTHON, reason="LITELLM_PYTHON isn't set")
@pytest.mark.timeout(300)
async def test_litellms_client_works_unchanged(tmp_path: Path) -> None:
    config = CONFIG.replace("general_settings: {", "general_settings: {store_model_in_db: true, ")
    async with RunningSuite(tmp_path, config) as suite:
        command = [PYTHON, str(CALLS), suite.edge_url, MASTER_KEY]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    got = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])
    team_id = got["team"]["team_id"]
    assert [team["team_id"] for team in got["teams"]] == [team_id] == [t["team_id"] for t in got["teams_v2"]["teams"]]
    assert got["available"] == [] and got["user"]["key"].startswith("sk-")
    assert "clients-user" in [user["user_id"] for user in got["users"]]
    assert got["user_info"]["user_info"]["user_email"] == got["user_info_v2"]["user_email"] == "c@example.com"
    assert got["info"]["info"]["key_alias"] == "client-key" and got["info"]["info"]["team_id"] == team_id
    assert [each["key_alias"] for each in got["list"]["keys"]] == ["client-key"] and got["list"]["total_count"] == 1
    assert got["updated"]["key_alias"] == "client-key-2"
    assert {model["id"] for model in got["models"]} == {"mock", "nick"}
    assert got["chat"]["choices"][0]["message"]["content"] == "Hello!" and got["stream"]
    assert got["refused"] and got["after"] == "unauthorized"
    assert got["deleted"]["deleted_keys"] == [got["key"]["key"]] and got["user_deleted"] == 1
    assert {group["model_group"] for group in got["groups"]} == {"mock", "other"}
    assert got["model_get"]["model_info"]["id"] == "stored-1"
    assert "canary" not in json.dumps(got), "a provider's credential comes back"
