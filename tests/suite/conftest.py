"""A tree in which the four services are stubs, and the suite, NATS and PostgreSQL are real."""

from pathlib import Path

import pytest

from tests.support.suite import ROOT


@pytest.fixture
def stub_tree(tmp_path: Path) -> Path:
    return made_in(tmp_path)


def made_in(directory: Path) -> Path:
    root = directory / "tree"
    services = root / "services"
    services.mkdir(parents=True)
    (root / "shared").symlink_to(ROOT / "shared")
    for name in ("__init__.py", "__main__.py", "suite"):
        (services / name).symlink_to(ROOT / "services" / name)
    stub = (ROOT / "tests/suite/stub_service.py").read_text()
    for kind in ("policy", "moderation", "ledger", "edge"):
        (services / kind).mkdir()
        (services / kind / "__init__.py").write_text("")
        (services / kind / "__main__.py").write_text(f"{stub}\n\nmain({kind!r})\n")
    return root
