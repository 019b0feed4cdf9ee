"""Files that only their owner may read (0600): replaced whole, and those that keep keys."""

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.settings import SettingsError


def replace(path: Path, content: bytes) -> None:
    """A reader, and the next start after a crash, see the old or the new content. Raises
    OSError.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class KeyFile:
    """Keys, a line each, the current one first. Everything raises SettingsError, which shows none.

    Args:
        what: what it is called in errors.
        instead: the setting that a key can be given by.
    """

    def __init__(self, path: Path, what: str, instead: str) -> None:
        self.path = path
        self._what = what
        self._instead = instead

    def is_there(self) -> bool:
        try:
            return self.path.exists()
        except OSError as error:
            raise self._unreadable(error) from None

    def read(self) -> list[str]:
        try:
            if self.path.stat().st_mode & 0o077:
                raise SettingsError(f"{self.path}: others may read the {self._what}; chmod 600 it")
            return self.path.read_text("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from None

    def write(self, keys: Sequence[str]) -> None:
        try:
            _write(self.path, keys)
        except OSError as error:
            raise self._not_kept(error) from None

    def read_or_make(self, new: Callable[[], str]) -> list[str]:
        """Of several that start at once, one makes it, and the others read it."""
        try:
            if not self.path.exists():
                self._make(new())
        except OSError as error:
            raise self._not_kept(error) from None
        return self.read()

    def _make(self, key: str) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        _write(temporary, [key])
        try:
            with suppress(FileExistsError):
                os.link(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _unreadable(self, error: Exception) -> SettingsError:
        return SettingsError(f"{self.path}: the {self._what} can't be read ({type(error).__name__})")

    def _not_kept(self, error: OSError) -> SettingsError:
        return SettingsError(f"{self.path}: the {self._what} can't be kept ({error.strerror}); set {self._instead}")


def _write(path: Path, keys: Sequence[str]) -> None:
    replace(path, ("\n".join(keys) + "\n").encode("ascii"))
