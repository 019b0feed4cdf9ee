"""Every refusal is rendered in OpenAI's shape, and tells nothing it shouldn't."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared import errors
from shared.errors import Refusal, RefusedError, render
from shared.ids import digest_key

MAKERS = [
    maker
    for name, maker in vars(errors).items()
    if inspect.isfunction(maker)
    and not name.startswith("_")
    and maker.__module__.startswith(errors.__name__)
    and name != "render"
]


def sample(maker: Callable[..., Refusal]) -> Refusal:
    """Called with something of each parameter's type."""
    values: dict[Any, Any] = {
        str: "gpt-4o",
        int: 1024,
        int | None: 5,
        str | None: "x",
        list[str]: ["a", "b"],
        object: "x",
        float: 0.5,
        tuple[str, ...] | None: ("a", "b"),
    }
    arguments = [
        400 if p.name == "status" else values[p.annotation]
        for p in inspect.signature(maker).parameters.values()
        if p.default is inspect.Parameter.empty
    ]
    return maker(*arguments)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
def test_shape(maker: Callable[..., Refusal]) -> None:
    refusal = sample(maker)
    assert isinstance(refusal, Refusal)
    assert 400 <= refusal.status < 600
    body = json.loads(render(refusal))
    assert set(body) == {"error"}
    error = body["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["code"] == (refusal.status if refusal.code_is_number else str(refusal.status))
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and error["type"]
    assert error["param"] is None or isinstance(error["param"], str)


def test_there_are_refusals_to_test() -> None:
    assert len(MAKERS) > 25


def test_each_code_has_one_status() -> None:
    seen: dict[str, int] = {}
    for maker in MAKERS:
        refusal = sample(maker)
        assert seen.setdefault(refusal.code, refusal.status) == refusal.status
        assert refusal.code.replace("_", "").isalnum() and refusal.code == refusal.code.lower()


def test_an_unknown_key_is_named_by_its_digest_only() -> None:
    key = "sk-canary-0123456789abcdef"
    body = render(errors.unknown_key(digest_key(key))).decode()
    assert "canary" not in body and digest_key(key) in body


def test_a_page_s_wording_for_a_banned_keyword() -> None:
    """Contract §13.5."""
    refusal = errors.blocked_content("Keyword banned. Keyword=hello")
    error = json.loads(render(refusal))["error"]
    assert (error["message"], error["type"], error["param"], error["code"]) == (
        "Keyword banned. Keyword=hello", "invalid_request_error", None, "400",
    )  # fmt: skip


def test_an_error_carries_its_refusal_and_shows_its_code_only() -> None:
    error = RefusedError(errors.bad_request("the body said: canary"))
    assert str(error) == "bad_request" and error.refusal.status == 400
