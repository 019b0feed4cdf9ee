"""enable_tag_filtering: which deployments a request's tags lead to."""

import pytest

from services.edge.routing.tags import filtered

DEPLOYMENTS = {"free": ["free"], "paid": ["paid", "eu"], "any": ["default"], "bare": []}


@pytest.mark.parametrize(
    ("there", "tags", "expected"),
    [
        ("free paid any", ["free"], "free"),
        ("free paid any", ["eu", "x"], "paid"),
        ("free paid any", ["free", "paid"], "free paid"),
        ("free paid any", ["unheard"], "any"),
        ("free paid any", [], "any"),
        ("free paid", ["unheard"], ""),
        ("free paid bare", [], "free paid bare"),
        ("free bare", ["unheard"], ""),
        ("", ["free"], ""),
    ],
)
def test_where_tags_lead(there: str, tags: list[str], expected: str) -> None:
    assert filtered(there.split(), tags, lambda each: DEPLOYMENTS[each]) == expected.split()
