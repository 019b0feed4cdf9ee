"""Keywords are found whatever the case, the spelling, the place and the cut; and in time linear in
the text.
"""

import time
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.keywords import matching
from shared.keywords.matching import PIECE_CHARACTERS, SPAN_CHARACTERS_MAX, Matcher, span_characters
from tests.support.pace import at_pace

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


INVISIBLE = (
    "\u200b\u200c\u200d\u00ad\u2060\ufeff\u200e\u202e\u2063\ufe0f\u034f\u180e\u115f\U000e0041\x00\x08\x7f\u2800\ufff9"
)


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda c: f"U+{ord(c):04X}")
def test_what_nobody_sees_hides_nothing(character: str) -> None:
    """Once, in a run longer than any window, and at the cut of a long text."""
    matcher = Matcher(["forbiddenword"])
    assert matcher.find(f"say forbidden{character}word now")
    assert matcher.find(f"say forbidden{character * 1000}word now")
    assert matcher.find("x" * (CUT_AT - 10) + f"forb{character * 1000}iddenword" + "y" * CUT_AT)


@pytest.mark.parametrize("mark", "\u0336\u0338\u20dd\u0489\u0332\u0353\u1dc4")
def test_marks_on_every_letter_hide_nothing(mark: str) -> None:
    """Once, many, at the cut of a long text, and while a stream is cut anywhere."""
    matcher = Matcher(["forbidden", "résumé"])
    for said in (
        "".join(c + mark for c in "forbidden"),
        "".join(c + mark * 9 for c in "FORBIDDEN"),
        f"re\u0301s{mark}ume\u0301",
    ):
        assert matcher.find(f"é {said} now")
        assert matcher.find("é" + "x\u0336" * (CUT_AT // 2 - 30) + said + "y" * CUT_AT)
        for end in range(1, len(said)):
            assert matcher.open_from("é say " + said[:end]) <= len("é say "), (said[:end], end)
    assert not matcher.find(f"r{mark}esume, forbid{mark} den")


@pytest.mark.parametrize(
    "space", [" ", "\n", " \t\r\n ", "\u00a0", "\u3000", "\u2028", "\x1c", " " * 1000, "\n" * 1000]
)
def test_white_space_is_one_space_and_never_none(space: str) -> None:
    matcher = Matcher(["secret project"])
    assert matcher.find(f"a SECRET{space}project")
    assert matcher.find("x" * (CUT_AT - 10) + f"é secret{space}project" + "y" * CUT_AT)
    assert matcher.find(f"e\u0301 secret{space}project"), "what has to be composed is compared in steps of its own"
    assert not matcher.find("a secretproject")
    assert Matcher([f"secret{space}project"]).find("secret project")


def test_parts_that_are_read_one_after_the_other_are_one_text() -> None:
    matcher = Matcher(["secret project", "forbiddenword"])
    assert matcher.find_across(["a forbid", "den", "word"]) == "forbiddenword"
    assert matcher.find_across(["a secret", "project"]) == "secret project"
    assert matcher.find_across(["secret"]) is None
    assert matcher.find_across([]) is None


def test_look_alikes_count_where_the_operator_says_so() -> None:
    for text in ("f\u043erbiddenw\u043erd", "f\u03bfrbiddenword", "FОRBIDDENWОRD"):
        assert Matcher(["forbiddenword"]).find(text) is Matcher(["forbiddenword"]).find(f"e\u0301 {text}") is None
        assert Matcher(["forbiddenword"], homoglyphs=True).find(text) == "forbiddenword"
    assert Matcher(["хорошо"], homoglyphs=True).find("очень хорошо") == "хорошо"


def test_the_keyword_is_named_as_it_was_configured() -> None:
    assert Matcher(["ÄRGER", "ärger"]).find("großer Ärger") == "ÄRGER"


def same_folded(character: str) -> list[str]:
    """Ways to write a character that fold to the same."""
    ways = {character, character.upper(), character.lower(), character.title(), character.casefold()}
    return sorted(way for way in ways if way.casefold() == character.casefold())


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda word: matching._visible(word).strip()
)
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
        matching._visible(found.casefold()) in matching._visible(before + said + after).casefold()
        or len(list(matching._forms(before + said + after))) == 2
    )


few_marks = st.text(
    st.sampled_from(
        "aB zÄßñÉжЖΣσς中文，。！「」かガ한글ＡＢ①ﬁ²µ\u3000\xa0\u2028\t\n\x01\u0301\u200bİǰ\u1161\u11a8\ufdfa🙂𝐛"
    ),
    max_size=30,
)


@given(few_marks | anything)
def test_the_form_made_letter_by_letter_is_the_composed_one(text: str) -> None:
    form = matching._plain.form(text)
    if form is not None:
        *_, composed = matching._forms(text)
        assert matching._shown(form).decode() == composed


def test_nearly_every_text_is_compared_letter_by_letter() -> None:
    for text in (
        "Größe",
        "Ёжик и 3 кота",
        "，你好。",
        "カタカナ「ひ」",
        "한국어",
        "العربية",
        "naïve 🙂 – “x”…",
        "a\u3000b\xa0c",
    ):
        assert matching._plain.form(text) is not None, text
    for text in ("cafe\u0301", "a\u200bb", "\ud800", "\u1100\u1161"):
        assert matching._plain.form(text) is None, ascii(text)


@given(st.lists(words, min_size=1, max_size=5), anything)
def test_what_is_found_is_there(keywords: list[str], text: str) -> None:
    found = Matcher(keywords).find(text)
    there = any(
        k.strip() and k in t for keyword in keywords for k in matching._forms(keyword) for t in matching._forms(text)
    )
    assert (found is not None) == there


@given(words)
def test_no_text_longer_than_the_span_can_say_a_keyword(keyword: str) -> None:
    """The decomposed, upper-cased, compatibility spellings of a keyword all fit its span."""
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert len(matching._visible(unicodedata.normalize(form, keyword))) <= span_characters(keyword)
    assert len(matching._visible(keyword.casefold())) <= span_characters(keyword)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text("abcAB é", min_size=1, max_size=SPAN_CHARACTERS_MAX // 2),
    st.lists(st.text("abcAB é", max_size=300), max_size=8),
    st.lists(st.text("abcAB é", max_size=300), max_size=8),
    st.randoms(use_true_random=False),
)
def test_a_stream_cut_anywhere_never_hides_a_keyword(keyword: str, before: list[str], after: list[str], random) -> None:  # type: ignore[no-untyped-def]
    """What a caller does who keeps a window of SPAN_CHARACTERS_MAX characters: screens its tail
    with each new chunk.
    """
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
@pytest.mark.alone
def test_hostile_texts_take_linear_time(text: str) -> None:
    matcher = Matcher(["a" * i + "b" * 250 for i in range(1, 6)] + [f"keyword{i}" for i in range(9_995)])
    started = time.process_time()
    assert matcher.find(text) is None
    assert time.process_time() - started < at_pace(3)
