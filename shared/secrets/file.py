"""`file/PATH`: a secret in a file, as Kubernetes and Docker mount them.

Only files below the folders that `TOLLGATE_SECRET_FILE_DIRS` lists (default `/run/secrets` and
`/var/run/secrets`), links followed: a configuration that somebody else wrote must not read the
machine's other files.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from shared.secrets.base import VALUE_BYTES_MAX, Manager, ReadOnly, SecretError
from shared.secrets.settings import KeyManagement

DEFAULT_DIRECTORIES = "/run/secrets:/var/run/secrets"


class FileSecrets(ReadOnly):
    name = "file"

    def __init__(self, directories: list[Path]) -> None:
        self._directories = directories

    async def read(self, name: str) -> str | None:
        return await asyncio.to_thread(self._read, name)

    def _read(self, name: str) -> str | None:
        if "\0" in name:
            raise SecretError("bad_name", self.name)
        path = (
            Path("/" + name.lstrip("/"))
            if name.startswith("/") or not self._directories
            else self._directories[0] / name
        )
        try:
            found = path.resolve()
            if not any(found.is_relative_to(directory.resolve()) for directory in self._directories):
                raise SecretError("bad_name", self.name, name, "outside TOLLGATE_SECRET_FILE_DIRS")
            with found.open("rb") as opened:
                raw = opened.read(VALUE_BYTES_MAX + 1)
            if len(raw) > VALUE_BYTES_MAX:
                raise SecretError("junk", self.name, name, "too large")
            return raw.decode().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError("denied", self.name, name, type(error).__name__) from None


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    listed = environ.get("TOLLGATE_SECRET_FILE_DIRS") or DEFAULT_DIRECTORIES
    return FileSecrets([Path(each) for each in listed.split(":") if each])
