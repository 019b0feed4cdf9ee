"""Tables in which a column is of secrets: a header says what stands below it. CSV, TSV, Markdown,
databases' clients, HTML. Pure.

A table is read once: from the first of its headers that says secret, to its end. So all tables of a
text cost what the text costs.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from services.moderation.secrets import abroad, naming, values
from services.moderation.secrets.spans import KEYWORD, Found, Span

NAMES = ("passw", "pwd", "passphrase", "passcode", "secret", "token", "key", *abroad.PASSWORDS)
LINE_MAX = 4_096
"""Bytes of a row; a table ends at a longer one."""
WORDS_MAX = 2
"""Of a header that says secret."""
REMEMBERED_MAX = 64
"""Headers: each of its names asks about it."""
_NAME = re.compile(rb"[\w\x80-\xff .*`/\-]{1,48}")
_SAYS_SECRET = re.compile(b"|".join(re.escape(name.encode()) for name in NAMES), re.IGNORECASE)
_RULER = re.compile(rb"[-+|: \t]{3,}+\r?\n")
"""Between a header and its rows."""
_BORDER = b" \t\r`*\"'"
_CELLS = {
    sign: re.compile(rb'(?:[ \t]*"(?:[^"]|""){0,2048}"[ \t\r]*|[^%b\n]*)(?P<sign>%b|\n|\Z)' % (re.escape(sign), re.escape(sign)))
    for sign in (b"|", b"\t", b";", b",")
}  # fmt: skip
_ROW = re.compile(rb"<tr\b[^<>]{0,200}>(?P<cells>(?:[^<]|<(?!/?t(?:r|able)\b)){1,4096})", re.IGNORECASE)
_CELL = re.compile(rb"<t[hd]\b[^<>]{0,200}>(?P<said>(?:[^<]|<(?!/?t[hdr]\b)){0,1024})", re.IGNORECASE)
_IN_HEADER = re.compile(rb"<th\b[^<>]{0,60}>(?:[^<]|<(?!/?t[hdr]\b)){0,60}\Z", re.IGNORECASE)
_TAGS = re.compile(rb"<[^<>]*>|[^<\s]+")


def column(data: bytes, at: int) -> Iterator[Found]:
    """The values below the header whose name has a literal at `at`, and below its neighbours'."""
    if data.rfind(b"<", max(0, at - 80), at) >= 0 and _IN_HEADER.search(data, max(0, at - 80), at) is not None:
        yield from _html(data, at)
        return
    end = data.find(b"\n", at, at + LINE_MAX)
    start = data.rfind(b"\n", max(0, at - LINE_MAX), at) + 1 if end >= 0 else 0
    if end < 0 or (start == 0 and at > LINE_MAX):
        return
    header = data[start : end + 1]
    sign = next((sign for sign in _CELLS if sign in header), None)
    if sign is None or not _begins_a_table(data, start, end + 1, sign):
        return
    width, wanted, first = _header(header, sign)
    if first != at - start:
        return
    yield None
    here = end + 1
    while here < len(data):
        yield None
        ruler = _RULER.match(data, here)
        if ruler is not None:
            here = ruler.end()
            continue
        row = _cells(data, here, sign)
        if row is None or len(row[0]) != width:
            return
        if _SAYS_SECRET.search(data, here, row[1]) is not None and _named(data, row[0]):
            return  # another header, which has its own turn
        for index, strength in wanted.items():
            yield from _told(data, *row[0][index], strength)
        here = row[1]


def _begins_a_table(data: bytes, start: int, end: int, sign: bytes) -> bool:
    """Whether the line [start, end) has a row below it; a line with bars inside a table isn't its
    header.
    """
    header = data[start:end]
    ruler = _RULER.match(data, end)
    below = ruler.end() if ruler is not None else end
    row = data[below : data.find(b"\n", below, below + LINE_MAX) + 1 or below + LINE_MAX]
    if (
        b'"' not in header
        and b'"' not in row
        and header.count(sign) != row.count(sign)
        and not header.startswith(b"||")
    ):
        return False
    if sign != b"|" or ruler is not None or header.startswith(b"||"):
        return True
    above = data[data.rfind(b"\n", max(0, start - LINE_MAX), max(0, start - 1)) + 1 : start]
    return above.count(sign) != header.count(sign) and _RULER.fullmatch(above) is None


@lru_cache(maxsize=REMEMBERED_MAX)
def _header(line: bytes, sign: bytes) -> tuple[int, dict[int, str], int]:
    """How many cells it has, which columns are of secrets and how strongly they say it, and where
    the first of their literals is (-1: in none).
    """
    cells = _cells(line, 0, sign)
    if (
        cells is None
        or sum(begin < end for begin, end in cells[0]) < 2  # `"api_key",` is of a list
        or not all(_NAME.fullmatch(line, *cell) for cell in cells[0] if cell[0] < cell[1])
    ):
        return 0, {}, -1
    named = _named(line, cells[0])
    first = next((at for _, at in named.values()), -1)
    return len(cells[0]), {index: strength for index, (strength, _) in named.items()}, first


def forget() -> None:
    """The lines that were remembered."""
    _header.cache_clear()


def _cells(data: bytes, at: int, sign: bytes) -> tuple[list[tuple[int, int]], int] | None:
    """Where a row's cells are, without their borders; and where the next row begins."""
    cells: list[tuple[int, int]] = []
    here = at
    while True:
        found = _CELLS[sign].match(data, here, at + LINE_MAX)
        if found is None or found.end() == at + LINE_MAX < len(data):
            return None
        begin, end = here, found.start("sign")
        while begin < end and data[begin] in _BORDER:
            begin += 1
        while end > begin and data[end - 1] in _BORDER:
            end -= 1
        cells.append((begin, end))
        here = found.end()
        if found["sign"] != sign:
            break
    if data.startswith(b"||", at):  # a wiki's header
        cells = [cell for cell in cells if cell[0] < cell[1]]
    if sign == b"|" and cells and cells[0][0] == cells[0][1]:
        cells = cells[1:]
    if sign == b"|" and cells and cells[-1][0] == cells[-1][1]:
        cells = cells[:-1]
    return cells, here


def _wanted(data: bytes, header: list[tuple[int, int]], at: int) -> dict[int, str]:
    """Columns of secrets and how strongly they say it; none unless `at` is in the first of them, at
    its first literal.
    """
    named = _named(data, header)
    if not named or next(iter(named.values()))[1] != at:
        return {}
    return {index: strength for index, (strength, _) in named.items()}


def _named(data: bytes, row: list[tuple[int, int]]) -> dict[int, tuple[str, int]]:
    """Of the cells that name secrets: how strongly, and where their first literal is. Not of values
    that happen to spell one.
    """
    named: dict[int, tuple[str, int]] = {}
    for index, (start, end) in enumerate(row):
        found = _SAYS_SECRET.search(data, start, end)
        if found is None or data.count(b" ", start, end) >= WORDS_MAX:
            continue
        strength = _strength(data[start:end], found, start)
        if strength and not values.is_random(data[start:end].decode("utf-8", "replace"), 8):
            named[index] = (strength, found.start())
    return named


def _strength(name: bytes, found: re.Match[bytes], start: int) -> str:
    literal = found[0].lower().decode()
    if literal in abroad.PASSWORDS:
        return "password"
    name, split = name.replace(b" ", b"_"), found.end() - start
    strength = naming.strength(name[:split], literal, name[split:])
    return strength if strength in ("password", "token") else ""


def _told(data: bytes, start: int, end: int, strength: str) -> Iterator[Found]:
    text = data[start:end].decode("utf-8", "replace")
    judge = values.is_password if strength == "password" else values.is_token
    if judge(text, quoted=True):
        yield Span(start, end, KEYWORD)


def _html(data: bytes, at: int) -> Iterator[Found]:
    row_at = _last_row(data, at)
    header = _ROW.match(data, row_at) if row_at >= 0 else None
    if header is None:
        return
    cells = _html_cells(data, header)
    wanted = _wanted(data, cells, at)
    here = header.end()
    yield None
    while wanted and (row := _ROW.search(data, here, here + LINE_MAX)) is not None:
        if b"</table" in data[here : row.start()].lower():
            return
        if b"<th" in row[0].lower() and _SAYS_SECRET.search(row["cells"]) is not None:
            return  # another header, which has its own turn
        yield None
        cells = _html_cells(data, row)
        for index, strength in wanted.items():
            if index < len(cells):
                yield from _told(data, *cells[index], strength)
        here = row.end()


def _last_row(data: bytes, before: int) -> int:
    """Where the row begins that is open at `before`, or -1."""
    low = max(0, before - LINE_MAX)
    at = data[low:before].lower().rfind(b"<tr")
    return low + at if at >= 0 else -1


def _html_cells(data: bytes, row: re.Match[bytes]) -> list[tuple[int, int]]:
    """Of each cell its first run of text outside tags."""
    cells = []
    for cell in _CELL.finditer(data, row.start("cells"), row.end("cells")):
        words = [word.span() for word in _TAGS.finditer(data, *cell.span("said")) if not word[0].startswith(b"<")]
        cells.append((words[0][0], words[-1][1]) if words else (cell.start("said"), cell.start("said")))
    return cells
