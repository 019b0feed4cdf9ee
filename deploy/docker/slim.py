"""Take out of an installed environment what a running service never reads: tests, debug symbols,
headers, cloud services we don't call.

`python3 slim.py SITE_PACKAGES`, in the image's build stage. Prints what was saved. Nothing that an
import needs is touched: imports.py, run afterwards, sees to that.
"""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("tests", "test", "_pyinstaller", "include", "docs", "examples", "benchmarks", "sboms")
"""Of these names, anywhere below a package that isn't one of KEPT."""
KEPT = ("numpy/testing", "botocore/docs")
"""Imported by their own packages."""
SOURCES = (".c", ".h", ".pyx", ".pxd", ".pyi", ".hpp", ".cpp", ".a", ".cmake", ".pc")
CLOUD_SERVICES = (
    "secretsmanager",
    "kms",
    "sts",
    "s3",
    "sso",
    "sso-oidc",
    "signin",
    "bedrock-runtime",
    "sagemaker-runtime",
)
"""AWS's models that stay; botocore brings 400."""


UNUSED = ("quicktok/data/llama3.*", "quicktok/data/qwen3.*", "*.dist-info/RECORD")
"""Vocabularies that nothing is counted with (services/moderation/count.py), and what only an
uninstallation reads.
"""
NOTICES_BYTES_MAX = 100_000
"""Licences longer than this are kept compressed."""


def size_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def packed_in_place(path: Path) -> None:
    with gzip.open(f"{path}.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()


def main(root: Path) -> None:
    before = size_bytes(root)
    for folder in [path for path in root.rglob("*") if path.is_dir() and path.name in FOLDERS]:
        if folder.exists() and not any(str(folder).endswith(kept) for kept in KEPT):
            shutil.rmtree(folder)
    for model in (root / "botocore" / "data").glob("*"):
        if model.is_dir() and model.name not in CLOUD_SERVICES:
            shutil.rmtree(model)
    for data in (root / "botocore" / "data").glob("*.json"):  # it reads them compressed, too
        packed_in_place(data)
    for unused in UNUSED:
        for path in root.glob(unused):
            path.unlink()
    for path in list(root.rglob("*")):
        if path.is_file() and path.suffix in SOURCES:
            path.unlink()
    for notices in root.glob("*.dist-info/licenses/*"):
        if notices.is_file() and notices.stat().st_size > NOTICES_BYTES_MAX:
            packed_in_place(notices)
    # Not those that a wheel brought along in `<package>.libs`: they were patched, and don't survive
    # it.
    libraries = [
        str(path)
        for path in root.rglob("*.so*")
        if path.is_file() and not path.is_symlink() and not path.parent.name.endswith(".libs")
    ]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=False, stderr=subprocess.DEVNULL)  # noqa: S603, S607
    print(f"{before / 1e6:.0f} MB, {size_bytes(root) / 1e6:.0f} MB after")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
