"""Providers' own APIs under our keys: only for who was given them, with our credential and without
the caller's.
"""

import datetime
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.edge.passthrough import provider_routes
from services.edge.passthrough.headers import without_key
from shared.config.providers import PROVIDERS
from shared.passthrough import Entries
from tests.edge.fakes import until
from tests.edge.passthrough.passthrough_kit import KEY, Given, Target, deciding
from tests.support.sigv4 import why_not


class Provided(Given):
    def provide(self, **environ: str) -> None:
        parts = self.edge.parts
        entries, parts.passthrough_signers = provider_routes.read(environ, Entries([]))
        parts.passthrough = Entries(entries)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Provided]:
    async with deciding(Provided(), Target()) as made:
        yield made


async def test_nobody_has_them_who_was_not_given_them(world: Provided) -> None:
    world.provide(OPENAI_API_KEY="sk-ours", OPENAI_BASE_URL=world.target.url)
    for allowed, role, status in (
        (None, "internal_user", 403),
        ([], "internal_user", 403),
        (["/anthropic"], "internal_user", 403),
        (["/openai"], "internal_user", 200),
        (["/openai/v1/files"], "internal_user", 200),
        (["/openai/v1/batches", "/openai/v1/fil"], "internal_user", 403),
        (["/openai/*"], "internal_user", 200),
        (None, "proxy_admin", 200),
        (None, "proxy_admin_viewer", 403),
    ):
        world.allowed, world.role = allowed, role
        world.edge.grants.forget_all()
        before = len(world.target.seen)
        answer = await world.ask("/openai/v1/files", "GET")
        assert answer.status == status, (allowed, role, answer.body)
        assert len(world.target.seen) - before == (status == 200)


@pytest.mark.parametrize(
    ("path", "environ", "asked", "header", "value"),
    [
        ("/openai", {"OPENAI_API_KEY": "sk-o"}, "/chat/completions", "authorization", "Bearer sk-o"),
        ("/anthropic", {"ANTHROPIC_API_KEY": "sk-a"}, "/v1/messages", "x-api-key", "sk-a"),
        ("/azure", {"AZURE_API_KEY": "az"}, "/openai/deployments/d/chat/completions", "api-key", "az"),
        ("/mistral", {"MISTRAL_API_KEY": "mi"}, "/v1/ocr", "authorization", "Bearer mi"),
        ("/cohere", {"COHERE_API_KEY": "co"}, "/v2/chat", "authorization", "Bearer co"),
    ],
)
async def test_our_credential_goes_and_the_callers_stays(
    world: Provided, path: str, environ: dict[str, str], asked: str, header: str, value: str
) -> None:
    row = next(row for row in provider_routes.ROWS if row.path == path)
    base = PROVIDERS[row.provider].base_variables[0]
    world.allowed = [path]
    world.provide(**environ, **{base: world.target.url + "/v1"})
    for carrier in ("authorization", "x-api-key", "api-key", "x-litellm-api-key"):
        sent = {carrier.replace("-", "_"): f"Bearer {KEY}" if carrier == "authorization" else KEY}
        world.edge.grants.forget_all()
        answer = await world.ask(
            f"{path}{asked}?key={KEY}&a=1", key=None, anthropic_version="2023-06-01", x_other="no", **sent
        )
        assert answer.status == 200, answer.body
        _, raw_path, headers, _ = world.target.seen[-1]
        assert headers[header] == value and KEY not in str(world.target.seen[-1])
        assert raw_path.startswith("/v1" + asked.removeprefix("/v1")) and raw_path.endswith("?a=1")
        assert ("anthropic-version" in headers) == (path == "/anthropic") and "x-other" not in headers
    await until(lambda: len(world.edge.settled()) == 4)
    assert world.edge.settled()[0].opened.deployment_id == f"pass_through:provider{path}"


async def test_amazons_calls_are_signed(world: Provided) -> None:
    world.allowed = ["/bedrock"]
    world.provide(AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="secret-of-ours", AWS_REGION_NAME="eu-west-1")
    (entry,) = world.edge.parts.passthrough.all
    assert entry.target == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    world.edge.parts.passthrough = Entries([msgspec.structs.replace(entry, target=world.target.url)])
    answer = await world.ask(
        "/bedrock/model/amazon.nova-lite-v1%3A0/converse?x=1", body=b"{}", content_type="application/json"
    )
    assert answer.status == 200, answer.body
    _, raw_path, headers, body = world.target.seen[-1]
    assert raw_path == "/model/amazon.nova-lite-v1:0/converse" and body == b"{}"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") and KEY not in str(headers)
    secrets, now = {"AKIDEXAMPLE": "secret-of-ours"}, datetime.datetime.now(datetime.UTC)
    # The test's target answers for Amazon's host, and sees its own.
    sent = {**headers, "host": "bedrock-runtime.eu-west-1.amazonaws.com"}.items()
    assert why_not("POST", raw_path, sent, body, secrets, now, region="eu-west-1", service="bedrock") is None


def test_without_a_credential_there_is_no_route_and_an_operators_own_stands_instead() -> None:
    def paths(configured: Entries, **environ: str) -> list[str]:
        return [entry.path for entry in provider_routes.read(environ, configured)[0]]

    assert paths(Entries([])) == []
    assert paths(Entries([]), OPENAI_API_KEY="") == []
    given: dict[str, Any] = {"OPENAI_API_KEY": "x", "GEMINI_API_KEY": "y", "AWS_BEARER_TOKEN_BEDROCK": "z"}
    found, signers = provider_routes.read(given, Entries([]))
    assert [entry.path for entry in found] == ["/openai", "/openai_passthrough", "/gemini", "/bedrock"] and not signers
    assert all(entry.only_listed and entry.auth and entry.include_subpath for entry in found)
    assert "/openai" not in paths(Entries([found[0]]), **given)
    assert paths(Entries([]), AZURE_API_KEY="k") == [], "nobody says where"


def test_a_query_without_the_callers_key() -> None:
    assert without_key("key=sk-1&a=b", "sk-1") == "a=b"
    assert without_key("a=b&x=Bearer%20sk-1", "sk-1") == "a=b"
    assert without_key("a=%73k-1", "sk-1") == ""
    assert without_key("a=b&&c", "sk-1") == "a=b&&c"
    assert without_key("key=other", None) == "key=other"
