"""The documents: every link leads somewhere, every command exists, and the reference is what the
code says.
"""

import re
import subprocess
from pathlib import Path

import pytest

from services.cli.main import OF_SERVICE, OWN
from tests.deploy.rendered import ROOT
from tools import make_reference

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", path.read_text(), flags=re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aimed = (path.parent / file).resolve() if file else path
        assert aimed.exists(), target
        assert not anchor or anchor in anchors(aimed), target


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_and_module_it_names_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    for command in re.findall(r"(?:^|`|&& )make ([a-z][a-z0-9-]+)(?![\w ]*[a-z] )", text, re.M):
        assert command in targets, f"make {command}"
    for module in re.findall(r"python3? -m (services[.\w]*)", text):
        parts = ROOT / module.replace(".", "/")
        assert (parts / "__main__.py").exists() or parts.with_suffix(".py").exists(), module
    for command in re.findall(r"`tollgate ([a-z][a-z-]*)", text):
        assert command in {*OWN, *OF_SERVICE, "doctor", "run"}, command


def test_every_file_of_deploy_that_is_named_exists() -> None:
    for path in DOCUMENTS:
        for named in re.findall(r"`(deploy/[\w./-]+)`", path.read_text()):
            ignored = subprocess.run(["git", "check-ignore", "-q", named], cwd=ROOT).returncode == 0
            assert ignored or (ROOT / named).exists(), (path, named)


@pytest.mark.parametrize("name", [name for name in make_reference.FILES if name != "metrics.md"])
def test_the_reference_is_what_the_code_says(name: str) -> None:
    assert (make_reference.REFERENCE / name).read_text() == make_reference.HEAD + make_reference.FILES[name](), (
        "make docs"
    )


def test_the_generated_tables_arent_empty() -> None:
    """A generator that finds nothing any more writes a file that is equal to itself."""
    for name, make in make_reference.FILES.items():
        if name != "metrics.md":
            assert make().count("\n| ") > 5, name
