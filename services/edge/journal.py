"""The journal: messages the broker did not acknowledge, on this edge's disk until it does.

A file of records `length(4) crc32(4) message_id(36) payload`, appended and fsynced before anybody
is told that a fact is safe. Reading stops at the first record that isn't whole: the tail of a crash
in the middle of an append, of which nobody was told. Records are drained oldest first with the
message ids they had, so what did reach the stream lands once; when the last is acknowledged the
file is emptied. After a crash in the middle of a drain everything left is sent again, which the
broker's window and the book's primary key make harmless. Whole records behind a damaged one (a bad
disk, not a crash) can't be trusted to be in order; they are set aside in a file of their own for a
person to look at, never overwritten.

One process owns the file (flock). Every call here blocks: run in a thread, one at a time.
"""

import fcntl
import os
import struct
import zlib
from pathlib import Path

import structlog

from shared.on_disk import synced

log = structlog.get_logger()

_HEAD = struct.Struct(">II")
MESSAGE_ID_BYTES = 36
_COPY_BYTES = 1024 * 1024


class JournalFullError(Exception):
    """Full, disabled or unwritable: the message isn't safe here."""


class JournalTakenError(Exception):
    """Another process owns this journal."""


class Journal:
    """
    Args:
        path: the file; its directory is made if missing.
        bytes_max: of the file; 0 disables the journal.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise JournalTakenError(f"{path} is in use by another edge") from None
        synced(path.parent)
        self._bytes_max = bytes_max
        self._drained = 0
        """Offset of the first record not yet acknowledged."""
        self._end = self._find_end()
        self._set_damage_aside(path)
        os.ftruncate(self._file, self._end)

    @property
    def bytes_waiting(self) -> int:
        return self._end - self._drained

    def append(self, message_id: str, payload: bytes) -> None:
        """Write and fsync. Raises JournalFullError, with the file as it was."""
        key = message_id.encode()
        assert len(key) == MESSAGE_ID_BYTES
        record = _HEAD.pack(len(payload), zlib.crc32(payload, zlib.crc32(key))) + key + payload
        if self._end + len(record) > self._bytes_max:
            raise JournalFullError("full")
        try:
            _write_all(self._file, record, self._end)
            os.fsync(self._file)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._end)
            except OSError:
                pass  # the next append overwrites the same place
            raise JournalFullError(error.strerror) from error
        self._end += len(record)

    def oldest(self) -> tuple[str, bytes] | None:
        """The first record not yet acknowledged, or None."""
        return self._read(self._drained) if self._drained < self._end else None

    def acknowledged(self) -> None:
        """The oldest record is in the stream. The file shrinks to nothing with the last one."""
        record = self._read(self._drained)
        assert record is not None
        self._drained += _HEAD.size + MESSAGE_ID_BYTES + len(record[1])
        if self._drained >= self._end:
            os.ftruncate(self._file, 0)
            os.fsync(self._file)
            self._drained = self._end = 0

    def close(self) -> None:
        os.close(self._file)

    def _find_end(self) -> int:
        offset = 0
        while (record := self._read(offset)) is not None:
            offset += _HEAD.size + MESSAGE_ID_BYTES + len(record[1])
        return offset

    def _set_damage_aside(self, path: Path) -> None:
        """Copy what lies from the first unreadable record on, if it is more than one torn
        append.
        """
        size = os.fstat(self._file).st_size
        head = os.pread(self._file, _HEAD.size, self._end)
        if len(head) < _HEAD.size or self._end + _HEAD.size + MESSAGE_ID_BYTES + _HEAD.unpack(head)[0] >= size:
            return
        aside = path.with_name(f"{path.name}.damaged-{zlib.crc32(head)}-{size}")
        with aside.open("wb") as copy:
            for offset in range(self._end, size, _COPY_BYTES):
                copy.write(os.pread(self._file, _COPY_BYTES, offset))
            copy.flush()
            os.fsync(copy.fileno())
        log.error("journal_damaged", set_aside_in=aside.name, set_aside_bytes=size - self._end)

    def _read(self, offset: int) -> tuple[str, bytes] | None:
        head = os.pread(self._file, _HEAD.size, offset)
        if len(head) < _HEAD.size:
            return None
        length, crc = _HEAD.unpack(head)
        size = MESSAGE_ID_BYTES + length
        if offset + _HEAD.size + size > os.fstat(self._file).st_size:
            return None
        body = os.pread(self._file, size, offset + _HEAD.size)
        if len(body) < size or zlib.crc32(body) != crc:
            return None
        return body[:MESSAGE_ID_BYTES].decode(), body[MESSAGE_ID_BYTES:]


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
