"""What checkov says of the manifests, where it is installed (its dependencies don't fit beside
ours): `make prove PYTEST_ARGS="-k checkov"`.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.rendered import RENDERED, ROOT, text


@pytest.mark.skipif(not shutil.which("checkov"), reason="no checkov on the PATH")
def test_checkov_finds_nothing_but_what_is_left_out_with_a_reason(tmp_path: Path) -> None:
    for name in RENDERED:
        (tmp_path / f"{name.replace('/', '-')}.yaml").write_text(text(name))
    command = ["checkov", "--config-file", str(ROOT / ".checkov.yaml"), "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Failed checks: 0" in done.stdout, done.stdout[-6000:]
