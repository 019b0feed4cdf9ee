"""hide_secrets on the corpus that was written apart from its rules (tests/moderation/apart). One
half is never printed.
"""

from pathlib import Path

import pytest

from services.moderation.secrets.engine import Engine
from tests.moderation.apart.innocent import innocent
from tests.moderation.apart.planted import planted
from tests.moderation.secrets_kit import hidden, is_left


@pytest.mark.parametrize("shown", [True, False], ids=["shown", "unseen"])
def test_at_least_99_of_100_are_hidden_and_what_stands_around_them_stays(engine: Engine, shown: bool) -> None:
    cases = [case for case in planted() if case.shown is shown]
    assert len(cases) >= 400
    missed, inexact = [], []
    for case in cases:
        out = hidden(engine, case.text)
        if is_left(case.secret, out):
            missed.append((case.kind, case.place, case.text[:120]))
        elif (
            case.kind != "pem"
            and not case.kind.endswith("hook")
            and out != case.text.replace(case.secret, "[REDACTED]")
        ):
            inexact.append((case.kind, case.place, out[:120]))
    assert len(missed) <= len(cases) // 100, missed if shown else len(missed)
    assert len(inexact) <= len(cases) // 50, inexact if shown else len(inexact)


def test_at_most_three_look_alikes_of_600_are_touched(engine: Engine) -> None:
    cases = innocent()
    assert len(cases) >= 600
    touched = [case for case in cases if hidden(engine, case.text) != case.text]
    assert len(touched) <= 3, [(case.kind, case.text[:80]) for case in touched if case.shown] or len(touched)


def test_the_two_corpora_are_of_two_hands() -> None:
    """Neither names the other, and this one doesn't know the rules."""
    for file in (Path(__file__).parent / "apart").glob("*.py"):
        text = file.read_text()
        assert not [other for other in ("services.", "secret_corpus", "secret_lookalikes") if other in text], file.name
