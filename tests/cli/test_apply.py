"""`tollgate apply`: a plan field by field, then as the file says; a second run finds nothing; keys
from references, or once into a file.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.live.effective import CONFIG
from tests.support.suite import MASTER_KEY, ROOT, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="module")
FILE = {
    "organizations": [{"organization_id": "org", "organization_alias": "Org", "models": ["mock"]}],
    "teams": [
        {
            "team_id": "eng", "team_alias": "Engineering", "organization_id": "org", "models": ["mock"], "max_budget": 100, "tags": ["a"],
            "members_with_roles": [{"role": "admin", "user_id": "boss"}],
        }
    ],
    "projects": [{"project_id": "proj", "team_id": "eng", "description": "a project"}],
    "users": [{"user_id": "boss", "user_email": "boss@example.com", "user_role": "internal_user"}],
    "customers": [{"user_id": "acme corp", "alias": "Acme", "blocked": False, "max_budget": 0.5}],
    "keys": [
        {"key_alias": "ci", "team_id": "eng", "duration": "90d", "key": "os.environ/CI_KEY", "metadata": {"x": 1}, "tags": ["ci"]},
        {"key_alias": "batch", "team_id": "eng", "models": ["mock"]},
    ],
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    async with RunningSuite(tmp_path_factory.mktemp("apply"), CONFIG) as running:
        yield running


async def apply(
    suite: RunningSuite, file: Path, content: object, *flags: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    env = {n: v for n, v in os.environ.items() if not n.startswith("TOLLGATE_")} | {
        "TOLLGATE_KEY": MASTER_KEY, "CI_KEY": "sk-ci-0123456789abcdef", **environ,
    }  # fmt: skip
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.cli", "apply", "-f", str(file), "--url", suite.edge_url, *flags],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


async def test_plan_apply_and_nothing_left(suite: RunningSuite, tmp_path: Path) -> None:
    file, out = tmp_path / "entities.yaml", tmp_path / "keys.jsonl"
    plan = await apply(suite, file, FILE, "--dry-run", "--keys-out", str(out))
    assert plan.returncode == 1 and "7 of 7 differ" in plan.stdout, plan.stdout + plan.stderr
    for line in (
        "+ team eng",
        "    max_budget: 100",
        "+ key ci",
        '    key: "os.environ/CI_KEY"',
        "+ customer acme corp",
    ):
        assert line in plan.stdout.splitlines(), plan.stdout
    assert not out.exists()
    done = await apply(suite, file, FILE, "--keys-out", str(out))
    assert done.returncode == 0 and "7 of 7 applied" in done.stdout, done.stdout + done.stderr
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert [each["key_alias"] for each in kept] == ["batch"] and out.stat().st_mode & 0o777 == 0o600
    assert "sk-ci-" not in done.stdout + done.stderr + plan.stdout and kept[0]["key"] not in done.stdout
    async with aiohttp.ClientSession() as http:
        for key in ("sk-ci-0123456789abcdef", kept[0]["key"]):
            body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
            headers = {"Authorization": f"Bearer {key}"}
            async with http.post(suite.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
    again = await apply(suite, file, FILE, "--keys-out", str(out))
    assert again.returncode == 0 and "nothing differs" in again.stdout, again.stdout
    changed = json.loads(json.dumps(FILE))
    changed["teams"][0] |= {"max_budget": 200, "models": ["mock", "other"]}
    changed["keys"][1] |= {"rpm_limit": 5}
    changed["customers"][0]["blocked"] = True
    plan = await apply(suite, file, changed, "--dry-run")
    lines = plan.stdout.splitlines()
    for line in (
        "~ team eng",
        "    max_budget: 100.0 -> 200",
        '    models: ["mock"] -> ["mock", "other"]',
        "~ key batch",
        "    rpm_limit: null -> 5",
    ):
        assert line in lines, plan.stdout
    assert "~ organization org" not in lines and "3 of 7 differ" in lines
    assert (await apply(suite, file, changed)).returncode == 0
    assert (await apply(suite, file, changed, "--dry-run")).returncode == 0
    assert len(out.read_text().splitlines()) == 1, "no key is made twice"


async def test_what_is_refused_is_said_and_the_rest_is_done(suite: RunningSuite, tmp_path: Path) -> None:
    file = tmp_path / "entities.yaml"
    content = {"teams": [{"team_id": "bad", "models": ["misspelt"]}, {"team_id": "good"}]}
    done = await apply(suite, file, content)
    assert done.returncode == 1 and "1 of 2 applied, 1 refused" in done.stdout
    assert "team bad: refused: models holds 'misspelt'" in done.stderr
    assert "1 of 2 differ" in (await apply(suite, file, content, "--dry-run")).stdout


WRONG = [
    ("keys: [{key_alias: x, key: sk-plain-secret-in-a-file}]", "keys[0]: key must be a reference"), ("- 1", "must be a mapping"),
    ("teams: {}x", "no YAML"), ("teams: 3", "teams must be a list"), ("tags: []", "tags: nobody knows this section"),
    ("teams: [{}]", "with team_id"),
    ("teams: [{team_id: a}, {team_id: a}]", "is there twice"), ("keys: [{key_alias: y, key: os.environ/NOT_SET}]", "there is no such secret"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), WRONG)
async def test_a_wrong_file_is_a_sentence_and_changes_nothing(
    suite: RunningSuite, tmp_path: Path, content: str, sentence: str
) -> None:
    done = await apply(suite, tmp_path / "entities.yaml", content)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "plain-secret" not in done.stderr


async def test_without_a_key_or_a_gateway(suite: RunningSuite, tmp_path: Path) -> None:
    file = tmp_path / "entities.yaml"
    assert "must hold an admin's key" in (await apply(suite, file, FILE, TOLLGATE_KEY="")).stderr
    done = await apply(suite, file, FILE, TOLLGATE_KEY="sk-nobody-nobody-nobody")
    assert done.returncode == 2 and "Unable to find token" in done.stderr
    done = await apply(suite, file, FILE, "--url", "http://127.0.0.1:1")
    assert done.returncode == 2 and "doesn't answer" in done.stderr
