"""`custom_auth`: the operator's function is asked for every request, its word is final, and it
keeps nobody but those who wait for it.
"""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.edge import tokens
from services.edge.own_auth import OwnAuth, load
from services.edge.tokens import Tokens
from shared.config import ConfigError, parse
from shared.identity import own
from shared.ids import KeyDigest, digest_key
from shared.requests import DecideRequest
from shared.settings import SettingsError
from shared.stand_ins import HTTPException, ProxyException, UserAPIKeyAuth
from tests.edge.fakes import Answer
from tests.edge.harness import Edge


def edge(function: Any, **settings: Any) -> Edge:
    return Edge({"m": ["mock:hi"]}, tokens=Tokens(None, OwnAuth(function, **settings)))


async def call(gateway: Edge, key: str | None = "abc", *more: str, path: str = "/v1/chat/completions") -> Answer:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    lines = [f"POST {path} HTTP/1.1", "Host: e", f"Content-Length: {len(body)}", *more]
    lines += [] if key is None else [f"Authorization: Bearer {key}"]
    async with await gateway.connect() as caller:
        await caller.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await caller.answer()


def asked(gateway: Edge) -> list[DecideRequest]:
    return [each for each in gateway.bus.asked if isinstance(each, DecideRequest)]


async def test_who_the_function_says_it_is_is_who_calls() -> None:
    seen: list[Any] = []

    async def function(request: Any, api_key: str) -> UserAPIKeyAuth:
        seen.append(
            (api_key, request.method, request.url.path, request.headers.get("X-Team"), request.headers.get("nope"))
        )
        return UserAPIKeyAuth(user_id="ann", team_id=request.headers["x-team"], models=["m"])

    async with edge(function) as gateway:
        for team in ("a", "a", "b"):
            assert (await call(gateway, "abc", f"X-Team: {team}")).status == 200
        assert seen == [("abc", "POST", "/v1/chat/completions", team, None) for team in ("a", "a", "b")], (
            "each is asked about"
        )
        questions = asked(gateway)
        identities = {msgspec.json.decode(each.claims, type=own.Identity).team_id: each for each in questions}
        assert set(identities) == {"a", "b"}, "decisions are kept by identity: another team is another decision"
        assert all(
            each.key_sha256 == own.digest(each.claims) and each.credential_shape == own.SHAPE for each in questions
        )
        assert len(questions) == 4, "of each identity: known, then the model; the second call found both"
        assert b"abc" not in b"".join(gateway.bus.sent), "the credential goes nowhere"


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (ProxyException("Not today", "auth_error", None, 403), 403, "Not today"),
        (HTTPException(429, "Slower"), 429, "Slower"),
        (HTTPException(500, "database password x"), 401, "database password x"),
        (Exception("postgresql://u:secret@h/d"), 401, "isn't accepted"),
        (SystemExit(3), 401, "isn't accepted"),
        (asyncio.CancelledError(), 401, "isn't accepted"),
        (TimeoutError(), 401, "isn't accepted"),
    ],
)
async def test_whatever_it_raises_lets_nobody_in(raised: BaseException, status: int, said: str) -> None:
    async def function(request: Any, api_key: str) -> UserAPIKeyAuth:
        raise raised

    async with edge(function) as gateway:
        for _ in range(2):  # it goes on being asked
            answer = await call(gateway, "sk-a-virtual-key-0123")
            assert (answer.status, said in answer.json()["error"]["message"]) == (status, True), answer.body
            assert b"secret@" not in answer.body
        assert not asked(gateway), "nothing is decided of a credential that was refused"


@pytest.mark.parametrize(
    "returned", [None, True, 7, "", ["user"], {"models": "m"}, {"expires": "soon"}, {"metadata": {"x": "y" * 20_000}}]
)
async def test_what_is_nobody_is_refused(returned: Any) -> None:
    async with edge(lambda request, api_key: returned) as gateway:
        assert (await call(gateway)).status == 401 and not asked(gateway)


async def test_one_that_hangs_keeps_nobody_else() -> None:
    stuck = threading.Event()

    async def function(request: Any, api_key: str) -> dict[str, Any]:
        stuck.wait(20)  # blocks its whole thread
        return {"user_id": "ann"}

    async with edge(function, timeout_s=0.2) as gateway:
        answers = await asyncio.gather(*(call(gateway) for _ in range(3)), call(gateway, path="/v1/nowhere"))
        assert [each.status for each in answers] == [503, 503, 503, 404]
        stuck.set()
        await asyncio.sleep(0.1)
        assert (await call(gateway)).status == 200


async def test_what_a_thread_that_hangs_was_asked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also once nobody waits any more: else each request that ran out of patience would leave
    something behind.
    """
    monkeypatch.setattr("services.edge.own_thread.ASKED_MAX", 2)
    stuck, asked = threading.Event(), list[str]()

    def function(request: Any, api_key: str) -> dict[str, Any]:
        asked.append(api_key)
        stuck.wait(20)
        return {"user_id": "ann"}

    async with edge(function, timeout_s=0.1) as gateway:
        for _ in range(5):
            assert (await call(gateway)).status == 503
        stuck.set()
        while (status := (await call(gateway)).status) == 503:
            pass  # until it is through with those who have left
        assert status == 200
        assert len(asked) == 2, "the others were never put to it"


async def test_a_string_is_a_credential_and_auto_falls_through() -> None:
    async def named(request: Any, api_key: str) -> str:
        return "sk-another-key-0123456"

    async with edge(named) as gateway:
        assert (await call(gateway)).status == 200
        assert {each.key_sha256 for each in asked(gateway)} == {digest_key("sk-another-key-0123456")}

    async def refuses(request: Any, api_key: str) -> UserAPIKeyAuth:
        raise HTTPException(401, "no")

    async with edge(refuses, falls_through=True) as gateway:
        assert (await call(gateway, "sk-virtual-0123456789")).status == 200
        assert {each.key_sha256 for each in asked(gateway)} == {digest_key("sk-virtual-0123456789")}
        assert not any(each.claims for each in asked(gateway))


async def test_a_key_that_was_let_in_before_is_asked_about_again() -> None:
    """Without this a virtual key whose grant is kept (a health check's, the master key's) would
    pass by the function.
    """
    async with edge(lambda request, api_key: {"user_id": "ann"}) as gateway:
        await gateway.grants.decide(digest_key("sk-known-0123456789"), "sk", "/chat/completions", "m")
        assert gateway.grants.knows(digest_key("sk-known-0123456789"))
        assert (await call(gateway, "sk-known-0123456789")).status == 200
        assert asked(gateway)[-1].credential_shape == own.SHAPE


async def test_no_body_is_there_for_it() -> None:
    async def function(request: Any, api_key: str) -> dict[str, Any]:
        return dict(await request.json())

    async with edge(function) as gateway:
        assert (await call(gateway)).status == 401


LITELLMS = """
from fastapi import Request, HTTPException, status

from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm._logging import verbose_proxy_logger


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    verbose_proxy_logger.debug("asked")
    if api_key != "my-custom-key":
        raise HTTPException(status_code=status.HTTP_403_FORBIDDEN, detail="Only my-custom-key")
    return UserAPIKeyAuth(api_key=api_key, user_id="ann", user_role=LitellmUserRoles.PROXY_ADMIN, max_budget=5)
"""


def write(directory: Path, text: str, more: str = "") -> Any:
    (directory / "my_auth.py").write_text(text)
    given = f"general_settings: {{master_key: sk-long-enough, custom_auth: my_auth.user_api_key_auth{more}}}"
    return parse(given, {}, directory=str(directory))


async def test_a_file_for_litellm_is_asked_as_it_is(tmp_path: Path) -> None:
    config = write(tmp_path, LITELLMS)
    assert {key.place: key.verdict for key in config.keys}["general_settings.custom_auth"] == "differently"
    auth = load(config)
    async with Edge({"m": ["mock:hi"]}, tokens=Tokens(None, auth)) as gateway:
        answer = await call(gateway, "other")
        assert answer.status == 403 and "Only my-custom-key" in answer.json()["error"]["message"]
        assert (await call(gateway, "my-custom-key")).status == 200
        told = msgspec.json.decode(asked(gateway)[0].claims, type=own.Identity)
        assert (told.user_id, told.user_role) == ("ann", "proxy_admin")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no user_api_key_auth"),
        ("def user_api_key_auth(:", "no Python"),
        (
            "from litellm.proxy.auth.auth_checks import get_key_object\ndef user_api_key_auth(request, api_key): ...",
            "get_key_object",
        ),
        (
            "from litellm.proxy.proxy_server import prisma_client\ndef user_api_key_auth(request, api_key): ...",
            "prisma_client",
        ),
    ],
)
def test_what_cannot_be_asked_refuses_the_start(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        write(tmp_path, text)
    assert "allow_unenforced: [custom_auth]" in str(refused.value)
    undone = write(tmp_path, text, ", allow_unenforced: [custom_auth]")
    assert load(undone) is None and any("started without it" in each for each in undone.warnings)


def test_what_fails_when_it_is_run_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="RuntimeError"):
        load(write(tmp_path, "user_api_key_auth = 5\nraise RuntimeError"))
    with pytest.raises(SettingsError, match="no function"):
        load(write(tmp_path, "user_api_key_auth = 5"))
    with pytest.raises(ConfigError, match="no elsewhere\\.py beside the configuration"):
        parse("general_settings: {custom_auth: elsewhere.f}", {}, directory=str(tmp_path))


def test_its_neighbours_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_my_auth.py").write_text("NAME = 'ann'")
    (tmp_path / "json.py").write_text("raise RuntimeError('Python has one')")
    text = "import json\nfrom neighbour_of_my_auth import NAME\ndef user_api_key_auth(request, api_key): return {'user_id': NAME}"
    found = load(write(tmp_path, text))
    assert found is not None
    found.close()


def test_yamls_on_and_off(tmp_path: Path) -> None:
    assert load(write(tmp_path, "raise 1", ", custom_auth_settings: {mode: off}, allow_unenforced: []")) is None
    found = load(write(tmp_path, LITELLMS, ", custom_auth_settings: {mode: on, timeout: 2}"))
    assert found is not None
    found.close()
    with pytest.raises(ConfigError, match="custom_auth_settings"):
        write(tmp_path, LITELLMS, ", custom_auth_settings: {mode: sometimes}")


async def test_what_policy_must_be_told_of_a_request_outlasts_those_that_came_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own:
        async def identify(self, head: Any, request: Any) -> bytes:
            return bytes(head.digest, "ascii")

    monkeypatch.setattr(tokens, "KEPT_MAX", 2)
    own_auth: Any = Own()
    nothing: Any = None
    kept = Tokens(None, own_auth)
    for name in ("a", "b", "a", "c"):
        head: Any = SimpleNamespace(digest=name)
        await kept.identify(head, nothing)
    told = kept.claims(KeyDigest("b")), kept.claims(KeyDigest("a")), kept.claims(KeyDigest("c"))
    assert told == (None, tokens.Claims(b"a"), tokens.Claims(b"c"))
