"""What a connection remembers of a credential: keys and tokens alike are read once, and never for
another request than the one that brings the same.
"""

import asyncio

import pytest

from services.edge import reading
from services.edge.checking import Nobody
from services.edge.http import Request
from shared import credential
from shared.ids import digest_key

TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{'c' * 600}.{'s' * 300}"
HEAD = object()


def request(found: str, head: object = HEAD, **more: str) -> Request:
    fields = {b"authorization": b"Bearer " + found.encode()}
    fields |= {name.replace("_", "-").encode(): value.encode() for name, value in more.items()}
    made = Request(Nobody(), asyncio.get_running_loop(), "10.0.0.1", "POST", b"/v1/x", fields, 1, True, None)
    made.head = head
    return made


def remembered(first: Request, found: str) -> reading.Credential:
    memo = reading.Credential(first, found)
    first.credential = memo
    return memo


@pytest.mark.parametrize("found", ["sk-12345678", TOKEN])
async def test_a_credential_is_read_once_a_connection(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = reading.head(request(found))
    memo = remembered(request(found), found)
    monkeypatch.setattr(credential, "digest", None)
    for again in (request(found), request(found, object()), request(found)):
        assert memo.is_of(again)
        again.credential = memo
        for _ in range(2):
            assert reading.head(again) == fresh


async def test_who_is_asked_for_goes_with_the_head() -> None:
    memo = remembered(request(TOKEN), TOKEN)
    plain, other = request(TOKEN), request(TOKEN, object(), x_litellm_team_id="t1")
    for again, digest, team in (
        (plain, digest_key(TOKEN), None),
        (other, digest_key(f"{TOKEN}\nt1"), "t1"),
        (plain, digest_key(TOKEN), None),
    ):
        assert memo.is_of(again)
        again.credential = memo
        found = reading.head(again)
        assert (found.digest, found.token, found.team_id) == (digest, TOKEN, team)


async def test_another_credential_is_not_the_one_before() -> None:
    memo = remembered(request(TOKEN), TOKEN)
    assert not memo.is_of(request(TOKEN + "x", object()))
    assert not memo.is_of(request(TOKEN, object(), x_litellm_api_key="sk-12345678"))
    long = TOKEN + "s" * reading.TOKEN_KEPT_MAX
    memo = remembered(request(long), long)
    assert not memo.is_kept and not memo.is_of(request(long, object()))
    assert reading.head(request(long)).digest == digest_key(long)
