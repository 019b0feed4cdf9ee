"""Secrets in mounted files, and no other files."""

from pathlib import Path

import pytest

from shared.secrets import KeyManagement, SecretError
from shared.secrets.file import make


async def test_only_files_of_the_listed_folders(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.write_text("other")
    (inside / "A").write_text("secret\n")
    (inside / "link").symlink_to(outside)
    (inside / "large").write_bytes(b"x" * 300_000)
    manager = make({"TOLLGATE_SECRET_FILE_DIRS": str(inside)}, KeyManagement())
    assert await manager.read("A") == "secret"
    assert await manager.read(str(inside / "A")) == "secret"
    assert await manager.read("missing") is None
    for name in (str(outside), "link", "../out", "/etc/passwd", "large", "a\0"):
        with pytest.raises(SecretError):
            await manager.read(name)
