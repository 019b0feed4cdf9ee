"""Texts that hold no keyword are seen on the edge (screening/keywords.py): it says yes only where
moderation would, and only by a list that moderation has just said is its own.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.formats.base import Text
from services.edge.screening import keywords as keywords_
from services.edge.screening.keywords import EFFORT_MAX, FRESH_S, LISTS_MAX, Keywords
from services.edge.screening.screening import Screening
from services.edge.screening.slices import groups_of
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.inspection import Inspection
from shared import subjects
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import KeywordsReply, KeywordsRequest, ScreenRequest, Verdict
from tests.edge.fakes import FakeBus

GUARD = GuardrailRef("words", ["pre_call"], window_characters=256, at_once=True)
WATCHER = GuardrailRef("other", ["pre_call"], at_once=True)


class Moderation:
    """With the real guardrail, on a bus that counts its questions."""

    def __init__(self, *words: str) -> None:
        self.now = 100.0
        self.bus: Any = FakeBus()
        self.bus.answers[subjects.MODERATION_SCREEN] = self._screen
        self.bus.answers[subjects.MODERATION_KEYWORDS] = self._told
        keywords_._of[self.bus] = self.known = Keywords(self.bus, lambda: self.now)
        self.use(*words)

    def use(self, *words: str) -> None:
        self.guardrail = BannedKeywords(list(words))

    def _screen(self, asked: ScreenRequest) -> Verdict:
        found = self.guardrail.inspect(Inspection.of(asked))
        assert isinstance(found, list)
        outcome = GuardrailOutcome("words", asked.stage, "block" if found else "allow", rules=self.guardrail.rules)
        other = [
            GuardrailOutcome(name, asked.stage, "allow", rules="1") for name in asked.guardrails if name == "other"
        ]
        return Verdict("block" if found else "allow", [outcome, *other], found[0].message if found else "")

    def _told(self, asked: KeywordsRequest) -> KeywordsReply:
        return self.guardrail.told() if asked.guardrail == "words" else KeywordsReply()

    async def screen(self, *texts: str, refs: tuple[GuardrailRef, ...] = (GUARD,)) -> tuple[str | None, list[str]]:
        """(what the client is told, the versions it was decided by)"""
        asked = Screening(self.bus, list(refs), "acompletion", None)
        refusal = await asked.screen("pre_call", list(texts))
        while self.known._asking:
            await asyncio.wait(set(self.known._asking))
        message = refusal.message if refusal is not None else None
        return message, [outcome.rules for outcome in asked.outcomes]

    def screened(self) -> int:
        return sum(isinstance(question, ScreenRequest) for question in self.bus.asked)


@pytest.fixture
def moderation() -> Moderation:
    return Moderation("forbidden", "straße")


async def test_the_first_is_asked_about_and_the_next_ones_only_where_they_hold_a_word(moderation: Moderation) -> None:
    for _ in range(5):
        assert await moderation.screen("fine", "so is this") == (None, [moderation.guardrail.rules])
    assert moderation.screened() == 1
    for text in ("this is FORBIDDEN", "for\u200bbidden", "ｆｏｒbidden", "STRASSE"):
        assert (await moderation.screen("fine", text))[0] is not None, text
    assert moderation.screened() == 5


async def test_a_list_that_changed_holds_within_its_time(moderation: Moderation) -> None:
    await moderation.screen("fine")
    old = moderation.guardrail.rules
    moderation.use("fine")
    assert await moderation.screen("fine") == (None, [old])  # nobody knows yet
    moderation.now += FRESH_S + 0.01
    assert (await moderation.screen("fine"))[0] == "Keyword banned. Keyword=fine"
    moderation.now += 0.01
    assert (await moderation.screen("fine"))[0] == "Keyword banned. Keyword=fine"
    assert await moderation.screen("other") == (None, [moderation.guardrail.rules])
    assert moderation.screened() == 3  # by the new list now


async def test_a_copy_that_is_known_to_be_old_counts_no_more(moderation: Moderation) -> None:
    await moderation.screen("fine")
    moderation.use("fine")
    moderation.bus.answers[subjects.MODERATION_KEYWORDS] = None
    await moderation.screen("forbidden")  # its answer names another version
    assert (await moderation.screen("fine"))[0] == "Keyword banned. Keyword=fine"


async def test_it_is_confirmed_by_any_answer_and_counts_from_when_that_was_asked_for(moderation: Moderation) -> None:
    await moderation.screen("fine")
    for _ in range(10):
        moderation.now += FRESH_S - 0.01
        await moderation.screen("forbidden")
    assert await moderation.screen("fine") == (None, [moderation.guardrail.rules])
    assert moderation.screened() == 11


async def test_with_moderation_away_nothing_passes_longer_than_a_copy_counts(moderation: Moderation) -> None:
    await moderation.screen("fine")
    moderation.bus.answers[subjects.MODERATION_SCREEN] = None
    assert (await moderation.screen("fine"))[0] is None
    moderation.now += FRESH_S + 0.01
    assert (await moderation.screen("fine"))[0] == "Guardrail words could not answer"


async def test_beside_a_guardrail_without_a_list_all_is_asked(moderation: Moderation) -> None:
    for _ in range(3):
        await moderation.screen("fine", refs=(GUARD, WATCHER))
    assert moderation.screened() == 3
    asked = [q.guardrail for q in moderation.bus.asked if isinstance(q, KeywordsRequest)]
    assert sorted(asked) == ["other", "words"]  # and not again for a while


async def test_a_long_text_is_moderation_s_work(moderation: Moderation) -> None:
    await moderation.screen("fine")
    await moderation.screen("x" * (EFFORT_MAX + 1))
    assert moderation.screened() > 1


@pytest.mark.parametrize(
    ("text", "homoglyphs"), [("e\u0301", False), ("no\u200bthing", False), ("\ufdfa", True), ("é", True)]
)
async def test_what_isnt_seen_in_one_step_is_moderation_s_work(
    moderation: Moderation, text: str, homoglyphs: bool
) -> None:
    """U+FDFA becomes 18 letters, and a text of them a second of work."""
    moderation.guardrail = BannedKeywords(["forbidden"], homoglyphs=homoglyphs)
    await moderation.screen("fine")
    await moderation.screen("fine")
    assert moderation.screened() == 1
    assert await moderation.screen(text) == (None, [moderation.guardrail.rules])
    assert moderation.screened() == 2


async def test_guardrails_without_lists_leave_room_for_those_that_are_known(moderation: Moderation) -> None:
    await moderation.screen("fine")
    known = moderation.known
    known._not_before |= dict.fromkeys(map(str, range(LISTS_MAX)), 0.0)
    moderation.use("other")
    moderation.now += FRESH_S + 0.01
    for _ in range(3):
        await moderation.screen("fine")
    assert moderation.screened() == 2, "the new list was asked for"


async def test_a_list_too_long_to_tell_isn_t(moderation: Moderation) -> None:
    moderation.use(*(f"{i:05} " + "x" * 200 for i in range(800)))
    for _ in range(2):
        await moderation.screen("fine")
    assert moderation.screened() == 2


PARTS = st.lists(
    st.sampled_from(["for", "bidden", "FORBIDDEN", " ", "ok", "ｆor", "b\u00adidden", "é"]), min_size=1, max_size=4
)


@given(st.lists(st.tuples(st.booleans(), PARTS, st.sampled_from(["text", "id", "binary"])), min_size=1, max_size=4))
def test_it_says_yes_exactly_where_moderation_does_and_one_step_shows_it(
    messages: list[tuple[bool, list[str], str]],
) -> None:
    texts = []
    for i, (parted, parts, kind) in enumerate(messages):
        said = parts if parted else ["".join(parts)]
        at = [("messages", i, "content", n, "text") if parted else ("messages", i, "content") for n in range(len(said))]
        texts += [Text(address, text, kind=kind) for address, text in zip(at, said, strict=True)]
    moderation = Moderation("forbidden")
    moderation.known._copies["words"] = keywords_._Copy(keywords_._matcher(moderation.guardrail.told()), 100.0)
    asked = ScreenRequest(
        ["words"], "pre_call", [t.text for t in texts], kinds=[t.kind for t in texts], groups=groups_of(texts)
    )
    is_clear = moderation.known.clear([GUARD], "pre_call", texts) is not None
    holds_none = moderation._screen(asked).action == "allow"
    assert is_clear is (holds_none and not any("\u00ad" in t.text for t in texts if t.kind != "binary"))
