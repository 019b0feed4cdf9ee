"""What a provider of the same wire gets: the client's own bytes where they say one thing only, and
nothing anybody could read otherwise.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.formats.base import NO_HINTS, Call
from services.edge.formats.fields import split
from services.edge.formats.openai import CHAT
from shared.errors import RefusedError

MESSAGES = b'"messages":[{"role":"user"}]'


def call(raw: bytes) -> Call:
    return CHAT.read(raw, NO_HINTS)


def test_where_nothing_has_to_change_the_bytes_are_the_clients() -> None:
    raw = b'{"messages":[ {"role":"user","content":"\xc3\xa9"} ],"model":"m","x":1.0,"y":[1e5 , 2],"stream":false}'
    assert CHAT.upstream_body(call(raw), "m") is raw


def test_unknown_fields_keep_their_bytes_when_the_rest_changes() -> None:
    values = [
        b"1.0",
        b"1e5",
        b'"\\u00e9\\/"',
        b'{ "b":1,  "a":[ ] }',
        b"123456789012345678901234567890",
        b"-0.0",
        b"null",
    ]
    raw = b'{"model":"m","messages":[],' .replace(b"[]", b'[ {"role" :"user"} ]') + b",".join(
        b'"x%d": %b' % (i, value) for i, value in enumerate(values)
    ) + b"}"  # fmt: skip
    out = CHAT.upstream_body(call(raw), "up")
    assert msgspec.json.decode(out, type=dict[str, msgspec.Raw])["model"] == msgspec.Raw(b'"up"')
    for i, value in enumerate(values):
        assert b'"x%d":%b' % (i, value) in out
    assert b'"messages":[ {"role" :"user"} ]' in out


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t", b"\r\n   "])
def test_space_between_the_fields_may_go_and_space_within_stays(space: bytes) -> None:
    raw = b'{"model":"m",%b"messages":[%b1],"x":{%b}}' % (space, space, space)
    assert CHAT.upstream_body(call(raw), "m") == raw.replace(b"," + space, b",")


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_as_the_usual_encoders_write_it_it_goes_on_as_it_is(separators: tuple[str, str]) -> None:
    """JavaScript's and the newer clients', and Python's own."""
    tree = {"model": "m", "stream": False, "x": {"a": [1, " : , "]}, "messages": [{"role": "user", "content": 'é"\\'}]}
    for ascii_only in (True, False):
        raw = json.dumps(tree, separators=separators, ensure_ascii=ascii_only).encode()
        assert CHAT.upstream_body(call(raw), "m") is raw


def test_bytes_that_are_only_as_many_as_spaces_would_be_are_no_spaces() -> None:
    """A name twice, in a body as long as the same one would be with Python's spaces."""
    for count in range(4, 40):
        fields = [b'"model":"m"', MESSAGES, *(b'"k%d":1' % i for i in range(count - 2))]
        twice = b'"k0":' + b"2" * (2 * count - 1 - len(b'"k0":,'))
        raw = b"{" + b",".join([*fields[:2], twice, *fields[2:]]) + b"}"
        once = b"{" + b",".join(fields) + b"}"
        assert len(raw) == len(once) + 2 * count - 1
        with pytest.raises(RefusedError) as refused:
            call(raw)
        assert refused.value.refusal.message == "k0 stands twice in one object"


names = st.sampled_from(["a", "b", "é", 'q"', "model", "messages", "\\", "n"])
spaces = st.sampled_from(["", " ", "  ", "\n", "\t"])


@given(
    st.lists(st.tuples(names, st.sampled_from(["1", '"x"', "[ 1 ]", '{"a":1}', '" , "']), spaces, spaces), max_size=6),
    spaces,
)
def test_what_goes_on_as_it_is_says_each_name_once(pairs: list[tuple[str, str, str, str]], end: str) -> None:
    text = "{" + ",".join(f"{a}{json.dumps(n, ensure_ascii=False)}:{b}{v}" for n, v, a, b in pairs) + end + "}"
    try:
        fields, exact = split(text.encode())
    except RefusedError:
        assert len({name for name, *_ in pairs}) < len(pairs)
        return
    said: list[tuple[str, Any]] = []

    def note(found: list[tuple[str, Any]]) -> dict[str, Any]:
        said[:] = found
        return dict(found)

    json.loads(text, object_pairs_hook=note)  # the topmost object comes last
    assert [name for name, _ in said] == list(fields)
    if exact:
        assert len(said) == len(fields) and text.replace(": ", ":").replace(", ", ",").count(",") >= len(fields) - 1
