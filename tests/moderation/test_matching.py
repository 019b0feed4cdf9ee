"""Keywords are found whatever the case, the spelling, the place and the cut; and in time linear in the text."""

import time
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.moderation import matching
from services.moderation.matching import PIECE_CHARACTERS, SPAN_CHARACTERS_MAX, Matcher, span_characters

CUT_AT = PIECE_CHARACTERS


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("hello", "Say Hello world!"),
        ("Hello", "oh HELLO"),  # LiteLLM lowers only the text, so a keyword with a capital never matched
        ("Straße", "in der STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("bomb", "a ｂｏｍｂ"),  # full width
        ("bomb", "𝐛𝐨𝐦𝐛"),  # mathematical bold
        ("office", "oﬃce"),  # ligature
        ("café", "cafe\u0301"),
        ("cafe\u0301", "CAFÉ"),
        ("cafe", "cafe\u0301"),  # what stands there counts too
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("two words", "TWO WORDS"),
        ("x\x00y", "ax\x00yb"),
    ],
)
def test_found(keyword: str, text: str) -> None:
    assert Matcher(["zzz", keyword]).find(text) == keyword


@pytest.mark.parametrize("text", ["", "hell o", "h-e-l-l-o", "help", "\u0301", "ﷺ"])
def test_not_found(text: str) -> None:
    assert Matcher(["hello"]).find(text) is None


def test_the_keyword_is_named_as_it_was_configured() -> None:
    assert Matcher(["ÄRGER", "ärger"]).find("großer Ärger") == "ÄRGER"


def same_folded(character: str) -> list[str]:
    """Ways to write a character that fold to the same."""
    ways = {character, character.upper(), character.lower(), character.title(), character.casefold()}
    return sorted(way for way in ways if way.casefold() == character.casefold())


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.lists(words, min_size=1, max_size=8), anything, anything, st.data())
@example(["e"], "", "\u0301", None)
def test_any_text_that_contains_a_keyword_in_any_case_is_found(
    keywords: list[str], before: str, after: str, data: st.DataObject | None
) -> None:
    keyword = keywords[-1]
    said = keyword if data is None else "".join(data.draw(st.sampled_from(same_folded(c))) for c in keyword)
    found = Matcher(keywords).find(before + said + after)
    assert found in keywords
    assert (
        found.casefold() in (before + said + after).casefold() or len(list(matching._forms(before + said + after))) == 2
    )


@given(st.lists(words, min_size=1, max_size=5), anything)
def test_what_is_found_is_there(keywords: list[str], text: str) -> None:
    found = Matcher(keywords).find(text)
    there = any(k in t for keyword in keywords for k in matching._forms(keyword) for t in matching._forms(text))
    assert (found is not None) == there


@given(words)
def test_no_text_longer_than_the_span_can_say_a_keyword(keyword: str) -> None:
    """The decomposed, upper-cased, compatibility spellings of a keyword all fit its span."""
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert len(unicodedata.normalize(form, keyword)) <= span_characters(keyword)
    assert len(keyword.casefold()) <= span_characters(keyword)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text("abcAB é", min_size=1, max_size=SPAN_CHARACTERS_MAX // 2),
    st.lists(st.text("abcAB é", max_size=300), max_size=8),
    st.lists(st.text("abcAB é", max_size=300), max_size=8),
    st.randoms(use_true_random=False),
)
def test_a_stream_cut_anywhere_never_hides_a_keyword(keyword: str, before: list[str], after: list[str], random) -> None:  # type: ignore[no-untyped-def]
    """What a caller does who keeps a window of SPAN_CHARACTERS_MAX characters: screens its tail with each new chunk."""
    keyword = "k" + keyword + "k"
    whole = "".join(before) + keyword.swapcase() + "".join(after)
    matcher, tail, hits, at = Matcher([keyword]), "", 0, 0
    while at < len(whole):
        chunk = whole[at : at + random.choice([1, 1, 2, 3, 7, 50, 255, 256, 257])]
        at += len(chunk)
        hits += matcher.find(tail + chunk) is not None
        tail = (tail + chunk)[-SPAN_CHARACTERS_MAX:]
    assert hits >= 1


@pytest.mark.parametrize("length", [1, 255, 256])
@pytest.mark.parametrize("offset", [-300, -256, -255, -129, -1, 0, 1, 255, 256, 300])
def test_a_keyword_across_two_pieces_is_found(length: int, offset: int) -> None:
    keyword = "k" + "é" * ((length - 1) // 2)
    text = "x" * (2 * CUT_AT - SPAN_CHARACTERS_MAX + offset) + keyword.upper() + "x" * CUT_AT
    assert Matcher([keyword]).find(text) == keyword


def test_the_end_of_a_long_text_is_looked_at() -> None:
    for extra in range(-2, 3):
        assert Matcher(["end"]).find("x" * (3 * CUT_AT - 2 * SPAN_CHARACTERS_MAX - 3 + extra) + "end") == "end"


@pytest.mark.parametrize(
    "text",
    [
        "e" + "\u0301\u0323" * 300_000,  # canonical ordering sorts a run of marks: quadratic if nobody bounds the run
        "\u0f73" * 300_000,  # a mark only after decomposing
        "ﷺ" * 60_000,  # becomes 18 times as long
        "a" * 1_000_000,
        "ab" * 500_000,
    ],
    ids=["marks", "hidden marks", "expanding", "almost a keyword", "many almosts"],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    matcher = Matcher(["a" * i + "b" * 250 for i in range(1, 6)] + [f"keyword{i}" for i in range(9_995)])
    started = time.process_time()
    assert matcher.find(text) is None
    assert time.process_time() - started < 3
