"""The fold: the last fact of a subject decides, whatever came before."""

import random

import msgspec
import pytest

from services.policy.catalog import Catalog, build
from services.policy.decide import decide
from services.policy.directory import Directory
from shared import config, subjects
from shared.config import ConfigError
from shared.entities import Key, Team
from shared.facts import ControlFact
from shared.grant import Denial
from shared.ids import digest_key
from shared.requests import DecideRequest
from tests.policy.world import CONFIG, MASTER_KEY, NOW, World, digest, key


def history(seed: int) -> list[tuple[str, ControlFact, int]]:
    """Random lives of a few keys, teams and aliases."""
    draw = random.Random(seed)
    facts = []
    for seq in range(1, 200):
        kind = draw.choice(["key", "team", "alias", "later"])
        name = draw.choice("abcde")
        after: dict | None = None
        if draw.random() < 0.7:
            if kind == "key":
                after = msgspec.to_builtins(
                    key(name, team_id=draw.choice([None, "x", "y"]), blocked=draw.random() < 0.5)
                )
            elif kind == "team":
                after = msgspec.to_builtins(Team(team_id=name, models=[str(seq)]))
            else:
                after = {"alias": name, "token": digest(draw.choice("abcde"))}
        entity_id = digest(name) if kind == "key" else name
        fact = ControlFact(
            str(seq), NOW, kind, entity_id, "updated", World().decide(MASTER_KEY, "/models").caller, None, after
        )
        facts.append((subjects.control(kind, entity_id), fact, seq))
    return facts


def fold(facts: list) -> Directory:
    directory = Directory()
    for subject, fact, seq in facts:
        directory.apply(subject, fact, seq)
    return directory


@pytest.mark.parametrize("seed", range(10))
def test_the_last_fact_of_each_subject_is_enough(seed: int) -> None:
    facts = history(seed)
    last = {subject: (subject, fact, seq) for subject, fact, seq in facts}
    whole, short = fold(facts), fold(sorted(last.values(), key=lambda f: f[2]))
    assert (whole.tables, whole._seqs) == (short.tables, short._seqs)
    for team in ("x", "y"):
        of_team = {k.token for k in whole.keys.values() if k.team_id == team}
        assert {k.token for k in whole.team_keys(team)} == of_team == {k.token for k in short.team_keys(team)}


def test_expected_seq() -> None:
    world = World(key("a"))
    subject = subjects.control("key", digest("a"))
    assert world.directory.expected_seq(subject) == 1
    world.fold("key", digest("a"), None)
    assert world.directory.expected_seq(subject) == 2, "a deleted entity's subject goes on"
    assert world.directory.expected_seq("control.key.never") == 0


def test_what_cannot_be_read_takes_no_right_away_and_is_named() -> None:
    world = World(Team(team_id="t"), key("a", team_id="t"), key("b"))
    with pytest.raises(msgspec.ValidationError):
        world.fold("key", digest("a"), {"token": 7})
    assert digest("a") in world.directory.keys, "apply changes nothing when it fails"
    subject = subjects.control("key", digest("a"))
    world.directory.unreadable(subject, 9)
    assert digest("a") in world.directory.keys and len(world.directory.team_keys("t")) == 1
    assert world.directory.expected_seq(subject) == 9, "whoever changes it next sees past it"
    assert world.directory.unread == {subject: 9}
    world.fold("key", digest("a"), msgspec.to_builtins(key("a", blocked=True)))
    assert world.directory.unread == {} and world.directory.keys[digest("a")].blocked
    world.directory.clear()
    assert world.directory.keys == {} and world.directory.expected_seq("control.team.t") == 0


def test_catalog_refuses_and_warns() -> None:
    def catalog(text: str) -> Catalog:
        return build(config.parse(text, {}), lambda provider, model: None)

    assert not catalog("litellm_settings: {callbacks: [banned_keywords, langfuse, prometheus]}").warnings
    left_undone = "litellm_settings: {callbacks: [lakera_prompt_injection]}\ngeneral_settings: {allow_unenforced: [%s]}"
    assert "started without it" in catalog(left_undone % "lakera_prompt_injection").warnings[0]
    assert len(catalog("litellm_settings: {callbacks: banned_keywords}").guardrails) == 1
    for wrong in (
        "litellm_settings: {callbacks: {a: b}}",
        left_undone % "another",
        "general_settings: {reject_clientside_metadata_tags: maybe}",
    ):
        with pytest.raises(ConfigError):
            catalog(wrong)
    twice = CONFIG.replace(
        "litellm_settings:",
        "  - model_name: free\n    litellm_params: {model: openai/unheard-of, mock_response: hi}\nlitellm_settings:",
    )
    assert len(catalog(twice).models["free"]) == 1, "two identical entries are one deployment"


def test_entities_are_what_the_stream_says() -> None:
    """A fact of a later version, with a field more, folds; the field is not ours to know."""
    world = World()
    world.fold("key", digest("a"), {**msgspec.to_builtins(key("a")), "invented_later": 1})
    assert world.directory.keys[digest("a")] == key("a")
    world.fold("galaxy", "g", {"x": 1})
    assert isinstance(world.directory.keys[digest("a")], Key)


def test_a_model_that_is_left_out_says_so_when_it_is_called() -> None:
    text = """
general_settings: {master_key: sk-master-of-this-world}
model_list: [{model_name: broken, litellm_params: {model: openai/x, api_base: nowhere}}]
"""
    catalog = build(config.parse(text, {}), lambda provider, model: None)
    request = DecideRequest(digest_key("sk-master-of-this-world"), "/chat/completions", "broken")
    denial = decide(Directory(), catalog, request, 1, 1)
    assert isinstance(denial, Denial)
    assert (denial.refusal.code, denial.refusal.status) == ("model_left_out", 503)
    assert "api_base is no address" in denial.refusal.message
