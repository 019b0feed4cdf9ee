"""Sealing and opening with the gateway's sealing key (shared/sealing.py), which is read when it is
first needed.

All edges need the same one: LITELLM_SALT_KEY, or the file in a data directory that they share.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared import sealing
from shared.sealing import Keyring, Sealed, SealingError
from shared.settings import SettingsError


class Sealer:
    def __init__(self, environ: Mapping[str, str], data_dir: str) -> None:
        self._environ = environ
        self._data_dir = data_dir
        self._keys: Keyring | None = None

    def seal(self, value: Any, place: str) -> list[str]:
        """The value as JSON, sealed. Raises SealingError."""
        return list(msgspec.to_builtins(self._keyring().seal(msgspec.json.encode(value).decode(), place)))

    def open(self, sealed: Any, place: str) -> Any:
        """The value again. Raises SealingError."""
        try:
            found = msgspec.convert(sealed, Sealed)
        except msgspec.ValidationError:
            raise SealingError("it is no sealed value") from None
        try:
            text = self._keyring().open(found, place)
        except SealingError:
            self._keys = None  # somebody may have rotated the key meanwhile
            text = self._keyring().open(found, place)
        return msgspec.json.decode(text.reveal())

    def _keyring(self) -> Keyring:
        if self._keys is None:
            try:
                self._keys = sealing.keyring(self._environ, self._data_dir)
            except SettingsError as error:
                raise SealingError(str(error)) from None
        return self._keys
