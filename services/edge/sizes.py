"""How large requests, answers and files may be, by `general_settings` and by key and team
(size_checks.py looks).

    max_request_size_mb                              counted unpacked, and while it arrives
    max_response_size_mb                             real bytes: an answer isn't passed on, a stream is cut with an error event
    max_file_size_mb                                 of one uploaded file
    allowed_file_extensions, blocked_file_extensions

A key's or team's own limits (`metadata.max_request_size_mb`, `metadata.max_response_size_mb`) come
with its grant; the smallest counts. `TOLLGATE_EDGE_BODY_BYTES_MAX` bounds what an edge reads
whatever is set here (413).
"""  # noqa: W505

from collections.abc import Mapping
from typing import Any

import msgspec

from shared import errors
from shared.config import ConfigError
from shared.errors import Refusal

MB = 1024 * 1024


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """In the megabytes (of 1,048,576 bytes) that the settings are in: the messages repeat them as
    they were written.
    """

    request_mb: float | int | None = None
    response_mb: float | int | None = None
    file_mb: float | int | None = None
    allowed_extensions: tuple[str, ...] | None = None
    """Lower case, without the dot; None: all."""
    blocked_extensions: tuple[str, ...] = ()

    @property
    def limits_files(self) -> bool:
        return self.file_mb is not None or self.allowed_extensions is not None or bool(self.blocked_extensions)

    def file_refusal(self, name: str, size_bytes: int) -> Refusal | None:
        """Why a file may not be uploaded."""
        extension = name.rpartition(".")[2].lower() if "." in name else ""
        if extension in self.blocked_extensions or (
            self.allowed_extensions is not None and extension not in self.allowed_extensions
        ):
            return errors.file_extension(extension, self.allowed_extensions)
        if self.file_mb is not None and size_bytes > self.file_mb * MB:
            return errors.file_too_large(size_bytes, self.file_mb)
        return None


def read(general_settings: Mapping[str, Any]) -> Sizes:
    """Raises ConfigError."""
    numbers = {}
    for name in ("request", "response", "file"):
        key = f"max_{name}_size_mb"
        value = general_settings.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            raise ConfigError(f"general_settings.{key}: a number above 0 is needed, not {value!r}")
        numbers[f"{name}_mb"] = value
    allowed = _extensions(general_settings, "allowed_file_extensions")
    return Sizes(
        **numbers,
        allowed_extensions=allowed,
        blocked_extensions=_extensions(general_settings, "blocked_file_extensions") or (),
    )


def _extensions(general_settings: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = general_settings.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"general_settings.{key}: a list of extensions is needed, such as ['.pdf', '.txt']")
    return tuple(each.lower().lstrip(".") for each in value)
