"""The journal: what was promised is found again, whatever a crash left of the file."""

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.journal import MESSAGE_ID_BYTES, Journal, JournalFullError, JournalTakenError
from shared.ids import new_id

RECORD_OVERHEAD = 8 + MESSAGE_ID_BYTES


def records(count: int) -> list[tuple[str, bytes]]:
    return [(new_id(), b"payload %d " % i * (i + 1)) for i in range(count)]


def fill(path: Path, written: list[tuple[str, bytes]], bytes_max: int = 100_000) -> Journal:
    journal = Journal(path, bytes_max)
    for record in written:
        journal.append(*record)
    return journal


def drain(journal: Journal) -> list[tuple[str, bytes]]:
    found = []
    while (record := journal.oldest()) is not None:
        found.append(record)
        journal.acknowledged()
    return found


def test_what_was_appended_is_drained_oldest_first_and_the_file_is_empty_then(tmp_path: Path) -> None:
    written = records(5)
    journal = fill(tmp_path / "journal", written)
    assert journal.bytes_waiting == sum(RECORD_OVERHEAD + len(payload) for _, payload in written)
    assert drain(journal) == written
    assert (journal.bytes_waiting, (tmp_path / "journal").stat().st_size) == (0, 0)


def test_an_emptied_journal_takes_facts_again(tmp_path: Path) -> None:
    first, second = records(2), records(3)
    journal = fill(tmp_path / "journal", first)
    drain(journal)
    for record in second:
        journal.append(*record)
    assert drain(journal) == second


def test_appending_goes_on_while_it_drains(tmp_path: Path) -> None:
    a, b, c = records(3)
    journal = fill(tmp_path / "journal", [a, b])
    assert journal.oldest() == a
    journal.acknowledged()
    journal.append(*c)
    assert drain(journal) == [b, c]


def test_reopening_finds_what_was_left_in_the_middle_of_a_drain(tmp_path: Path) -> None:
    written = records(4)
    journal = fill(tmp_path / "journal", written)
    journal.acknowledged()
    journal.close()
    assert drain(Journal(tmp_path / "journal", 100_000)) == written, "sent again, with the same ids"


def test_a_file_cut_at_any_byte_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    written = records(3)
    fill(tmp_path / "whole", written).close()
    data = (tmp_path / "whole").read_bytes()
    ends, end = [0], 0
    for _, payload in written:
        end += RECORD_OVERHEAD + len(payload)
        ends.append(end)
    for cut in range(len(data) + 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        journal = Journal(tmp_path / "cut", 100_000)
        whole = sum(1 for end in ends[1:] if end <= cut)
        assert journal.bytes_waiting == ends[whole]
        extra = (new_id(), b"after the crash")
        journal.append(*extra)
        assert drain(journal) == [*written[:whole], extra], f"cut at {cut}"
        journal.close()


@given(junk=st.binary(max_size=300))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_behind_the_last_whole_record_is_never_taken_for_one(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    written = records(2)
    fill(path, written).close()
    with path.open("ab") as file:
        file.write(junk)
    journal = Journal(path, 100_000)
    assert drain(journal) == written
    journal.close()


def test_a_length_that_lies_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(struct.pack(">II", 2**32 - 1, 0) + bytes(200))
    journal = Journal(tmp_path / "journal", 100_000)
    assert (journal.bytes_waiting, journal.oldest()) == (0, None)


def test_what_lies_behind_a_damaged_record_is_set_aside_not_destroyed(tmp_path: Path) -> None:
    written = records(3)
    fill(tmp_path / "journal", written).close()
    data = bytearray((tmp_path / "journal").read_bytes())
    data[RECORD_OVERHEAD + len(written[0][1]) + 50] ^= 1  # in the second record
    (tmp_path / "journal").write_bytes(data)
    journal = Journal(tmp_path / "journal", 100_000)
    assert drain(journal) == written[:1]
    aside = list(tmp_path.glob("journal.damaged-*"))
    assert len(aside) == 1
    assert written[2][1] in aside[0].read_bytes()


def test_full_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    written = records(2)
    room = sum(RECORD_OVERHEAD + len(payload) for _, payload in written)
    journal = fill(tmp_path / "journal", written, bytes_max=room)
    with pytest.raises(JournalFullError):
        journal.append(new_id(), b"")
    assert drain(journal) == written
    journal.append(*written[0])


def test_disabled_takes_nothing_but_still_gives_what_a_predecessor_left(tmp_path: Path) -> None:
    written = records(2)
    fill(tmp_path / "journal", written).close()
    journal = Journal(tmp_path / "journal", 0)
    with pytest.raises(JournalFullError):
        journal.append(new_id(), b"x")
    assert drain(journal) == written
    with pytest.raises(JournalFullError):
        journal.append(new_id(), b"x")


@pytest.mark.parametrize("broken", ["pwrite", "fsync"])
def test_a_disk_error_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    written = records(2)
    journal = fill(tmp_path / "journal", written)
    before = (tmp_path / "journal").read_bytes()
    real = os.pwrite

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(file: int, data: bytes, offset: int) -> int:
        """The disk takes a part of it, then no more."""
        if len(data) < 20:
            fail()
        return real(file, data[: len(data) // 2], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, half if broken == "pwrite" else fail)
        with pytest.raises(JournalFullError):
            journal.append(new_id(), b"never promised" * 10)
    assert (tmp_path / "journal").read_bytes() == before
    journal.append(*written[0])
    assert drain(journal) == [*written, written[0]]


def test_a_record_written_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:7], offset))
    written = records(3)
    assert drain(fill(tmp_path / "journal", written)) == written


def test_a_second_owner_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal", 1000)
    with pytest.raises(JournalTakenError):
        Journal(tmp_path / "journal", 1000)
    first.close()
    Journal(tmp_path / "journal", 1000).close()


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", 1000).close()
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


def test_an_append_is_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal", 1000)
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append((tmp_path / "journal").stat().st_size)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    journal.append(new_id(), b"12345")
    assert synced == [RECORD_OVERHEAD + 5]
