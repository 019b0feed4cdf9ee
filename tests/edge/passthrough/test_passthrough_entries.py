"""What a pass-through entry may say, and which one a path means."""

import json
from typing import Any

import pytest

from services.edge.passthrough.headers import to_target
from shared import passthrough as entries
from shared.config import ConfigError
from shared.passthrough import Entry


def test_hop_by_hop_headers_and_amazons_stay() -> None:
    entry = Entry(id="e", path="/e", target="http://t", forward_headers=True, headers={"X-Own": "ours"})
    sent = {
        "connection": "keep-alive, x-hop", "x-hop": "1", "keep-alive": "5", "te": "x", "transfer-encoding": "chunked", "upgrade": "h2c",
        "host": "edge", "accept-encoding": "br", "x-own": "theirs", "x-pass-x-amz-date": "1", "x-pass-host": "h", "x-pass-": "",
        "x-litellm-tags": "a", "x-forwarded-for": "1.2.3.4", "x-amz-date": "2", "user-agent": "u", "accept": "*/*",
    }  # fmt: skip
    assert dict(to_target(entry, sent, None)) == {
        "x-amz-date": "2",
        "user-agent": "u",
        "accept": "*/*",
        "X-Own": "ours",
    }


@pytest.mark.parametrize(
    ("given", "target", "query", "url"),
    [
        ({}, "", "", ""), ({}, "", "a=1&b", "?a=1&b"), ({}, "?t=1", "", "?t=1"), ({}, "?t=1", "a=%20", "?a=%20"),
        ({"merge_query_params": True}, "?t=1&a=0", "a=1", "?t=1&a=1"), ({"default_query_params": {"a": 0, "d": 1}}, "?d=2", "a=1", "?d=1&a=1"),
        ({"default_query_params": {"d": 1}}, "?d=2", "", "?d=2"), ({"default_query_params": {"d": 1}}, "", "id=1&id=2&d=", "?id=1&id=2&d="),
    ],
)  # fmt: skip
def test_queries(given: dict[str, Any], target: str, query: str, url: str) -> None:
    entry = entries.entry_of({"path": "/e", "target": f"https://t/x{target}", **given}, "at", {})
    assert entry.url("", query) == f"https://t/x{url}"
    assert entry.url("/a%2Fb", query).startswith("https://t/x/a%2Fb")


@pytest.mark.parametrize(
    "target",
    [
        "http://u:p@host/",
        "file:///etc/passwd",
        "unix:///x",
        "http://",
        "http://h/#f",
        "http://h:99999/",
        "http://h/ x",
        "//h",
        "gopher://h",
    ],
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(ConfigError, match="target"):
        entries.entry_of({"path": "/e", "target": target}, "at", {})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"auth": "true"}, "auth"),
        ({"auth": 1}, "auth"),
        ({"forward_headers": "yes"}, "forward_headers"),
        ({"include_subpath": 0.5}, "include_subpath"),
        ({"path": "e"}, "path"),
        ({"path": "/"}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/key/generate"}, "own routes"),
        ({"path": "/health/readiness"}, "own routes"),
        ({"path": 5}, "path"),
        ({"target": None}, "target"),
        ({"methods": []}, "methods"),
        ({"methods": ["CONNECT"]}, "methods"),
        ({"methods": "GET"}, "methods"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"cost_per_request": "x"}, "cost_per_request"),
        ({"cost_per_request": -1}, "cost_per_request"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": "b\nc"}}, "headers"),
        ({"headers": {"a": "Bearer os.environ/UNSET"}}, "UNSET"),
        ({"headers": {"a": "os.environ/EMPTY"}}, "EMPTY"),
        ({"guardrails": 5}, "guardrails"),
        ({"guardrails": {"pii": {"fields": ["a"]}}}, "guardrails.pii"),
        ({"guardrails": {"pii": {"request_fields": "query"}}}, "request_fields"),
        ({"guardrails": {"pii": {"request_fields": ["a b"]}}}, "request_fields"),
        ({"guardrails": {"pii": {"response_fields": ["a[x]"]}}}, "response_fields"),
        ({"custom_handler": "x"}, "custom_handler"),
        ({"atuh": True}, "atuh"),
        ({"default_query_params": [1]}, "default_query_params"),
    ],
)
def test_what_is_no_endpoint_is_refused_at_start(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        entries.read([{"path": "/e", "target": "https://t", **wrong}], {"EMPTY": ""})


def test_two_endpoints_for_one_method_are_refused() -> None:
    one = {"path": "/e", "target": "https://t"}
    with pytest.raises(ConfigError, match="already"):
        entries.read([one, {**one, "methods": ["GET"]}], {})
    found = entries.read(
        [{**one, "methods": ["POST"]}, {**one, "methods": ["GET"]}, {"path": "/e/f", "target": "https://u"}], {}
    )
    assert len(found.all) == 3


def test_the_longest_path_wins() -> None:
    found = entries.read(
        [
            {"path": "/e", "target": "https://one", "include_subpath": True},
            {"path": "/e/f", "target": "https://two", "include_subpath": True},
            {"path": "/e/f/g", "target": "https://three"},
        ],
        {},
    )

    def target(path: str) -> Any:
        hit = found.find("GET", path, path)
        return (hit[0].host, hit[1]) if hit and isinstance(hit[0], Entry) else hit

    assert target("/e") == ("one", "") and target("/e/x") == ("one", "/x")
    assert target("/e/f") == ("two", "") and target("/e/f/x/y") == ("two", "/x/y")
    assert target("/e/f/g") == ("three", "") and target("/ef") == ()
    assert json.dumps(target("/e/f/g/h")) == '["two", "/g/h"]'


def test_how_long_one_may_take_that_says_nothing() -> None:
    given = [{"path": "/a", "target": "https://t/a"}, {"path": "/b", "target": "https://t/b", "timeout": 3}]
    assert [each.timeout_s for each in entries.read(given, {}, 9.0).all] == [9.0, 3.0]
    assert [each.timeout_s for each in entries.read(given, {}).all] == [entries.TIMEOUT_S, 3.0]
