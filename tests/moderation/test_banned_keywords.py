"""The banned_keywords guardrail: its configuration, its words, and that it doesn't hold up the
loop.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from services.moderation.guardrails import Inspection, banned_keywords, table
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.parts import Parts
from shared.config import ConfigError, parse
from shared.keywords import plain
from shared.keywords.matching import Matcher
from tests.moderation.moderation_kit import answered


def configured(tmp_path: Path, **litellm_settings: Any) -> list[Any]:
    import json

    loaded = table.load(
        Parts(config=parse(json.dumps({"litellm_settings": litellm_settings}), {}, directory=str(tmp_path)))
    )
    return [each.guardrail for each in loaded]


def banned(tmp_path: Path, value: Any) -> BannedKeywords:
    (guardrail,) = configured(tmp_path, callbacks=["banned_keywords"], banned_keywords_list=value)
    assert isinstance(guardrail, BannedKeywords)
    return guardrail


async def said(guardrail: BannedKeywords, *texts: str) -> str | None:
    findings = await answered(guardrail.inspect(Inspection(list(texts), "pre_call")))
    if not findings:
        return None
    (finding,) = findings
    assert finding.block and finding.status == 400 and not finding.redactions
    return finding.message


async def test_the_page_s_example(tmp_path: Path) -> None:
    assert await said(banned(tmp_path, ["hello"]), "Hello world!") == "Keyword banned. Keyword=hello"


async def test_every_text_of_every_role_is_read(tmp_path: Path) -> None:
    guardrail = banned(tmp_path, ["Hello"])
    for place in range(5):
        texts = ["fine"] * 5
        texts[place] = "say hELLO"
        assert await said(guardrail, *texts) == "Keyword banned. Keyword=Hello"
    assert await said(guardrail, "hel", "lo") is None


async def test_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("\ufeffSecret Plan\r\n\r\n   \n  other\t\nlast".encode())
    for path in ("words.txt", str(tmp_path / "words.txt")):
        guardrail = banned(tmp_path, path)
        assert await said(guardrail, "a secret plan") == "Keyword banned. Keyword=Secret Plan"
        assert await said(guardrail, "OTHERS") == "Keyword banned. Keyword=other"
        assert await said(guardrail, "at last") == "Keyword banned. Keyword=last"
        assert await said(guardrail, "  \n") is None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "must be a list of keywords or the path"),
        ("", "must be a list of keywords or the path"),
        (7, "must be a list of keywords or the path"),
        ({"a": 1}, "must be a list of keywords or the path"),
        ([], "holds no keyword"),
        (["", "  "], "holds no keyword"),
        (["ok", "\u200b\u200d"], "keyword 2 has nothing that can be seen"),
        (["ok", 12], r"banned_keywords_list\[1\] must be a text"),
        (["x" * 257], "keyword 1 is longer than 256"),
        (["ok", "ß" * 129], "keyword 2 is longer than 256"),
        (["w"] * 10_001, "more than 10000 keywords"),
        ("nowhere.txt", "cannot read '.*nowhere.txt': No such file"),
        (".", "cannot read .*: Is a directory"),
        ("a\0b", "cannot read"),
        ("empty.txt", "holds no keyword"),
        ("binary.txt", "not UTF-8"),
        ("os.environ/NOT_SET", "must be a list of keywords or the path"),
    ],
)
def test_a_wrong_list_is_refused_with_a_sentence(tmp_path: Path, value: Any, sentence: str) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"ok\n\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"litellm_settings\.banned_keywords_list") as refusal:
        banned(tmp_path, value)
    assert refusal.match(sentence)


def test_the_longest_list_and_the_longest_keyword_are_taken(tmp_path: Path) -> None:
    banned(tmp_path, ["x" * 256, *(f"word{i}" for i in range(9_999))])


def test_half_a_surrogate_pair_is_refused() -> None:
    tree = 'litellm_settings: {callbacks: [banned_keywords], banned_keywords_list: ["\\ud800"]}'
    with pytest.raises(ConfigError):
        table.load(Parts(config=parse(tree, {})))


def test_only_what_is_enabled_is_loaded(tmp_path: Path) -> None:
    assert configured(tmp_path) == []
    assert configured(tmp_path, callbacks=["prometheus"], banned_keywords_list="nowhere.txt") == []
    assert len(configured(tmp_path, callbacks="banned_keywords", banned_keywords_list=["a"])) == 1
    for wrong in ({"a": "b"}, ["banned_keywords", [3]]):
        with pytest.raises(ConfigError, match=r"litellm_settings\.callbacks"):
            configured(tmp_path, callbacks=wrong)


async def test_the_parts_of_one_message_are_read_together(tmp_path: Path) -> None:
    guardrail = banned(tmp_path, ["secret project"])
    parts = ["a secret", "project", "x"]
    findings = await answered(guardrail.inspect(Inspection(parts, "pre_call", groups=[1, 1, 0])))
    assert findings and findings[0].message == "Keyword banned. Keyword=secret project"
    assert await answered(guardrail.inspect(Inspection(parts, "pre_call", groups=[1, 2, 0]))) == []


async def test_look_alikes_are_an_option(tmp_path: Path) -> None:
    said_so = {"callbacks": ["banned_keywords"], "banned_keywords_list": ["paypal"]}
    (plain,) = configured(tmp_path, **said_so)
    (strict,) = configured(tmp_path, **said_so, banned_keywords_homoglyphs=True)
    assert await said(plain, "раyраl") is None
    assert await said(strict, "раyраl") == "Keyword banned. Keyword=paypal"
    with pytest.raises(ConfigError, match="banned_keywords_homoglyphs: expected true or false"):
        configured(tmp_path, **said_so, banned_keywords_homoglyphs="perhaps")


@pytest.mark.alone
async def test_a_long_text_leaves_the_loop_free(tmp_path: Path) -> None:
    """While a megabyte is looked at, others are served at least every 100 ms. Best of three: a
    machine may pause by itself.
    """
    guardrail = banned(tmp_path, [f"keyword {i}" for i in range(10_000)])
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    beating = asyncio.create_task(heartbeat())
    seen = []
    for _ in range(3):
        await asyncio.sleep(0.01)
        longest = 0.0
        started = time.perf_counter()
        assert await said(guardrail, "é keyworf 1 " * 100_000) is None
        took = time.perf_counter() - started
        await asyncio.sleep(0.01)  # lets it measure what it just waited for
        seen.append((longest, took))
        if longest < max(0.1, took / 3):
            break
    else:
        pytest.fail(f"(longest pause, took) in s: {seen}")
    beating.cancel()


async def test_a_changed_file_is_read_again_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banned_keywords, "LOOK_S", 0.0)
    file = tmp_path / "words.txt"
    file.write_text("one\n")
    guardrail = banned(tmp_path, "words.txt")
    assert await said(guardrail, "two") is None
    file.write_text("two\n")
    assert await said(guardrail, "two") == "Keyword banned. Keyword=two"
    assert await said(guardrail, "one") is None
    file.write_bytes(b"\xff\n")
    assert await said(guardrail, "two") == "Keyword banned. Keyword=two", "what can't be used leaves the old list"
    file.unlink()
    assert await said(guardrail, "two") == "Keyword banned. Keyword=two"
    (tmp_path / "other").write_text("three\n")
    (tmp_path / "other").rename(file)
    assert await said(guardrail, "three") == "Keyword banned. Keyword=three"


@pytest.mark.parametrize("said", ["\ufdfa", "раsswоrd ", "㌖", "𝔄", "\u0f77", "e\u0301\u0323", "a\u200b", "ﾊﾟ"])
@pytest.mark.parametrize("homoglyphs", [False, True])
async def test_a_long_text_that_one_step_does_not_clear_is_looked_at_in_a_thread(said: str, homoglyphs: bool) -> None:
    guardrail = BannedKeywords(["bomb", "käse"], homoglyphs=homoglyphs)
    text = (said * 33_000)[:32_768]
    cleared = guardrail._matcher.clear_at_once([text])
    found = guardrail.inspect(Inspection([text], "pre_call"))
    assert isinstance(found, list) == cleared
    assert (found if isinstance(found, list) else await found) == []
    blocked = guardrail.inspect(Inspection([text[:20_000] + " böMB? ka\u0308se", "fine"], "pre_call"))
    assert len(blocked if isinstance(blocked, list) else await blocked) == 1


@pytest.mark.parametrize("said", ["a\u200b", "раsswоrd ", "Ⅷ\u0301", "".join(map(chr, range(0x2460, 0x24EA)))])
def test_what_changes_each_letter_is_done_in_steps(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call holds the interpreter to its end."""
    text = (said * 50_000)[:50_000]
    matcher = Matcher(["käse"], homoglyphs=True)
    whole = matcher.find(text + " KA\u0308SE"), list(matcher._compared(text))
    monkeypatch.setattr(plain, "STEP_CHARACTERS", 1)
    assert (matcher.find(text + " KA\u0308SE"), list(matcher._compared(text))) == whole
