"""Which name a value of a request stands under, as guardrails are told."""

import json

import msgspec
import pytest

from services.edge.content import request as requests
from services.edge.screening.under import names_of


def named(**body: object) -> dict[str, str]:
    """Text -> its name, of those that have one."""
    fields = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
    texts = [text for text in requests.of_fields(fields).texts if text.kind != "key"]
    return {text.text: name for text, name in zip(texts, names_of(texts), strict=False) if name}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ([{"role": "user", "content": "hello"}], {}),
        ([{"role": "user", "content": [{"type": "text", "text": "hello"}]}], {}),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "input": {"password": "x1", "a": {"okta": {"token": "x2"}}}}],
                }
            ],
            {"x1": "password", "x2": "a.okta.token"},
        ),
        (
            [
                {
                    "role": "tool",
                    "content": [{"env": [{"name": "DB_PASSWORD", "value": "x1"}, {"name": "N", "value": "x2"}]}],
                }
            ],
            {"x1": "DB_PASSWORD", "x2": "N"},
        ),
        ([{"role": "tool", "content": [{"passwords": ["x1", "x2"]}]}], {"x1": "passwords", "x2": "passwords"}),
    ],
)
def test_names(said: object, names: dict[str, str]) -> None:
    assert named(model="m", messages=said) == names


def test_what_is_meant_for_who_gets_it_has_no_name() -> None:
    """Else a tool server's own token, or a header, would be hidden from it."""
    assert (
        named(mcp_servers=[{"authorization_token": "x1"}], extra_headers={"x-key": "x2"}, extra_body={"token": "x3"})
        == {}
    )
