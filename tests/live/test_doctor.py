"""`python -m services.doctor` on a running system, and on broken ones."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import nats
import pytest

from services.doctor.app import examine
from services.doctor.diagnosis import Diagnosis
from tests.support.ports import free_port
from tests.support.suite import MOCK_CONFIG, ROOT, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


def environment(suite: RunningSuite, user: str) -> dict[str, str]:
    passwords = json.loads((suite.data_dir / "embedded.json").read_text())["nats_passwords"]
    probes = {
        f"TOLLGATE_{kind.upper()}_PROBE_PORT": str(process["probe_port"])
        for kind, process in suite.state()["processes"].items() if process["probe_port"]
    }  # fmt: skip
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")},
        "TOLLGATE_CONFIG": str(suite.directory / "config.yaml"),
        "TOLLGATE_DATA_DIR": str(suite.data_dir),
        "TOLLGATE_DATABASE_URL": suite.database_url,
        "TOLLGATE_NATS_URL": f"nats://{user}:{passwords[user]}@{suite.nats_url.rpartition('@')[2]}",
        **probes,
    }


def wrong(findings: list[Diagnosis]) -> list[str]:
    return [f"{finding.what}: {finding.detail}" for finding in findings if finding.level == "wrong"]


async def test_nothing_is_wrong_with_a_system_that_runs_and_what_is_broken_is_named(tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, MOCK_CONFIG) as suite:
        for user in ("edge", "policy", "moderation", "ledger"):
            findings = await examine(
                environment(suite, user), ["configuration", "disk", "broker", "database", "services"]
            )
            assert wrong(findings) == [], user
            assert {"broker's version", "broker's permissions", "database", "schema", user} <= {
                f.what for f in findings
            }
        env = environment(suite, "ledger")
        command = [sys.executable, "-m", "services.doctor"]
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        for secret in (env["TOLLGATE_NATS_URL"].split(":")[2].split("@")[0], "sk-1234"):
            assert secret not in done.stdout + done.stderr

        operator = await nats.connect(suite.nats_url)
        config = (await operator.jetstream().stream_info("TRAFFIC")).config
        config.max_age = 3600
        await operator.jetstream().update_stream(config)
        await operator.close()
        assert any("stream TRAFFIC: a limit of age" in each for each in wrong(await examine(env, ["broker"])))
        all_powerful = await examine({**env, "TOLLGATE_NATS_URL": suite.nats_url}, ["broker"])
        assert any("no service's" in finding.detail for finding in all_powerful)


async def test_what_is_away_or_unreadable_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model_list: 7")
    env = {
        "TOLLGATE_CONFIG": str(tmp_path / "config.yaml"),
        "TOLLGATE_DATABASE_URL": f"postgresql://x:hidden@127.0.0.1:{free_port()}/x",
        "TOLLGATE_NATS_URL": f"nats://edge:hidden@127.0.0.1:{free_port()}",
    }
    found = wrong(await examine(env, ["configuration", "database", "broker"]))
    assert [each.partition(":")[0] for each in found] == ["configuration", "broker", "database"]
    assert "hidden" not in str(found)


async def test_a_service_is_asked_for_its_own_secrets_alone(tmp_path: Path) -> None:
    """In the ledger's pod there is no master key; in policy's its lack is wrong."""
    (tmp_path / "config.yaml").write_text(MOCK_CONFIG.replace("sk-1234", "os.environ/NOWHERE"))
    env = {"TOLLGATE_CONFIG": str(tmp_path / "config.yaml")}
    for user, number in (("ledger", 0), ("policy", 1), ("operator", 1)):
        found = await examine({**env, "TOLLGATE_NATS_URL": f"nats://{user}:x@127.0.0.1:4222"}, ["configuration"])
        assert len(wrong(found)) == number, (user, found)
