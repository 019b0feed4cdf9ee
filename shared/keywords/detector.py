"""Does a text hold any of many byte strings? As fast as the engine can: groups that its SIMD search
takes. Pure.

The engine searches up to 64 strings with vector instructions (20 to 60 us for 300 kB), and walks an
automaton byte by byte for more (600 us). Where up to three letters are in all of a group's strings,
it would look for those alone, which in real text stand everywhere (2 ms): so a group has strings
besides, which no compared text has, of four letters that no other string has.
"""

import ahocorasick_rs

GROUP_MAX = 64
GROUPS_MAX = 10
"""With more of them one automaton is faster."""
DFA_BYTES_MAX = 100_000
"""Of all strings together, up to which the larger, twice as fast automaton is made."""
_NEVER = [b"\x01\x01\x01", b"\x02\x02\x02", b"\x03\x03\x03", b"\x04\x04\x04"]
"""Controls are taken out of every text before it is compared."""

_LEFTMOST = ahocorasick_rs.MatchKind.LeftmostFirst


def _engine(patterns: list[bytes]) -> ahocorasick_rs.BytesAhoCorasick:
    small = sum(map(len, patterns)) <= DFA_BYTES_MAX
    implementation = ahocorasick_rs.Implementation.DFA if small else None
    return ahocorasick_rs.BytesAhoCorasick(patterns, matchkind=_LEFTMOST, implementation=implementation)


class Detector:
    def __init__(self, patterns: list[bytes]) -> None:
        room = GROUP_MAX - len(_NEVER)
        whole = len(patterns) > room * GROUPS_MAX
        groups = [patterns] if whole else [patterns[i : i + room] for i in range(0, len(patterns), room)]
        self._engines = [_engine(group + _NEVER) for group in groups if group]

    def any(self, data: bytes) -> bool:
        return any(engine.find_matches_as_indexes(data) for engine in self._engines)


_two_spaces = _engine([b"  ", *_NEVER])


def one_space(data: bytes) -> bytes:
    """Each run of spaces one space. Python's own search for two spaces takes ten times as long in
    text where there are none.
    """
    if b"  " not in data[:4096] and not _two_spaces.find_matches_as_indexes(data):
        return data
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data
