"""Patterns that read any text in linear time (RE2), over bytes. Pure."""

import re2


def compiled(pattern: str, *, any_case: bool = True, memory_bytes_max: int | None = None) -> re2._Regexp:
    """
    Args:
        pattern: in the letters of an automaton that reads bytes: each is one of them.
        memory_bytes_max: of its states, which are made as texts need them; None: RE2's own bound.
    """
    options = re2.Options()
    options.case_sensitive = not any_case
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    if memory_bytes_max is not None:
        options.max_mem = memory_bytes_max
    return re2.compile(pattern.encode("latin-1"), options)
