"""`pip install .` in an environment of its own gives `tollgate`, with all its files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, cwd=cwd)


def test_an_installed_wheel_works(tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    python = tmp_path / "venv" / "bin" / "python"
    locked = run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        ROOT / "requirements.lock",
    )
    assert locked.returncode == 0, locked.stderr
    copy = tmp_path / "source"  # building writes into the tree
    assert run("git", "clone", "-q", ROOT, copy).returncode == 0
    installed = run(python, "-m", "pip", "install", "-q", copy)
    assert installed.returncode == 0, installed.stderr
    tollgate = tmp_path / "venv" / "bin" / "tollgate"
    assert run(tollgate, "--version", cwd=tmp_path).stdout.startswith("tollgate ")
    checked = run(tollgate, "check-config", ROOT / "config.example.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    files = run(
        python, "-c", "import services.ledger.migrate, services.edge.pages, shared.prices; print('ok')", cwd=tmp_path
    )
    assert files.stdout.strip() == "ok", files.stderr
    assert not [name for name in ("services", "shared") if (tmp_path / name).exists()]
