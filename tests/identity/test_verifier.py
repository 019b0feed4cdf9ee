"""Which tokens are let in, and with which answer the others are refused."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import parse
from shared.errors import RefusedError
from shared.identity.keys import of_jwk, of_jwks
from shared.identity.settings import read
from shared.identity.tokens import TokenError, check_claims, take_apart
from shared.identity.verifier import Verifier, own_validate
from shared.outbound import Outbound
from shared.settings import SettingsError
from tests.identity.identity_kit import (
    ALGORITHM_KEYS,
    KEYS,
    OTHER_RSA_KEY,
    RSA_KEY,
    Provider,
    auth,
    claims,
    encode,
    jwk,
    sign,
    verified,
)


@pytest.fixture
async def verifier(provider: Provider, outbound: Outbound) -> AsyncIterator[Verifier]:
    found = Verifier(outbound, auth(provider.url))
    yield found
    await found.close()


async def refusal(verifier: Verifier, token: str) -> tuple[int, str, str]:
    with pytest.raises(RefusedError) as refused:
        await verified(verifier, token)
    found = refused.value.refusal
    assert len(token) < 20 or token[:20] not in found.message
    return found.status, found.type, found.message


@pytest.mark.parametrize("algorithm", ALGORITHM_KEYS)
async def test_every_algorithm_of_the_table_verifies(verifier: Verifier, algorithm: str) -> None:
    assert (await verified(verifier, sign(claims(), algorithm)))["sub"] == "u1"


async def test_a_token_is_verified_once(verifier: Verifier, provider: Provider) -> None:
    token = sign(claims())
    for _ in range(3):
        await verified(verifier, token)
    provider.keys = []
    assert (await verified(verifier, token))["sub"] == "u1" and provider.fetched == 1


async def test_a_verified_token_ends_when_it_says(provider: Provider, outbound: Outbound) -> None:
    now = time.time()
    verifier = Verifier(outbound, auth(provider.url), now=lambda: now)
    token = sign(claims(exp=int(now) + 10))
    await verified(verifier, token)
    now = float(int(now) + 10)
    assert await refusal(verifier, token) == (401, "expired_key", "Token Expired")
    await verifier.close()


def hs256_with_the_public_key(said: dict[str, Any]) -> str:
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).encode())
    body = encode(json.dumps(said).encode())
    return f"{head}.{body}.{encode(hmac.new(pem, f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


def with_header(token: str, **changed: Any) -> str:
    _, body, signature = token.split(".")
    return f"{encode(json.dumps({'alg': 'RS256', 'kid': 'rsa', **changed}).encode())}.{body}.{signature}"


def signed_raw(body: bytes, header: bytes = b'{"alg":"RS256","kid":"rsa"}') -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    said = f"{encode(header)}.{encode(body)}"
    return f"{said}.{encode(RSA_KEY.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


NOW = int(time.time())
ATTACKS: dict[str, str] = {
    "alg none": with_header(sign(claims()), alg="none"),
    "alg none, no signature": ".".join(jwt.encode(claims(), None, "none").split(".")[:2]) + ".",
    "alg NoNe": with_header(sign(claims()), alg="NoNe"),
    "HS256 signed with the public key": hs256_with_the_public_key(claims()),
    "a list of algorithms": with_header(sign(claims()), alg=["RS256"]),
    "another algorithm of the same key": with_header(sign(claims()), alg="PS256"),
    "another key's id": sign(claims(), kid="p256"),
    "an unknown key": sign(claims(), kid="nobody"),
    "signed by a stranger": sign(claims(), key=OTHER_RSA_KEY),
    "no signature": sign(claims()).rpartition(".")[0] + ".",
    "half a signature": sign(claims())[:-40],
    "its own key in the header": sign(claims(), key=OTHER_RSA_KEY, jwk=jwk("rsa", OTHER_RSA_KEY)),
    "its own key by address": sign(claims(), key=OTHER_RSA_KEY, jku="http://127.0.0.1:1/jwks"),
    "x5u": sign(claims(), x5u="http://127.0.0.1:1/"),
    "crit": sign(claims(), crit=["exp"]),
    "b64": signed_raw(json.dumps(claims()).encode(), b'{"alg":"RS256","kid":"rsa","b64":true}'),
    "kid is no string": with_header(sign(claims()), kid=7),
    "typ of something else": sign(claims(), typ="secevent+jwt"),
    "wrong audience": sign(claims(aud="other")),
    "no audience": sign(claims(aud=None)),
    "audience that contains ours": sign(claims(aud="gateway-other")),
    "wrong issuer": sign(claims(iss="https://idp.example.evil")),
    "no issuer": sign(claims(iss=None)),
    "expired this second": sign(claims(exp=NOW)),
    "no expiry": sign(claims(exp=None)),
    "expiry as text": signed_raw(json.dumps(claims(exp="9999999999")).encode()),
    "expiry true": signed_raw(json.dumps(claims(exp=True)).encode()),
    "expiry infinite": signed_raw(json.dumps(claims()).replace(str(claims()["exp"]), "1e999").encode()),
    "not yet": sign(claims(nbf=NOW + 1000)),
    "issued in the future": sign(claims(iat=NOW + 1000)),
    "a claim twice": signed_raw(json.dumps(claims())[:-1].encode() + b',"sub":"admin"}'),
    "a claim twice, escaped": signed_raw(json.dumps(claims())[:-1].encode() + b',"\\u0073ub":"admin"}'),
    "a header twice": signed_raw(json.dumps(claims()).encode(), b'{"alg":"none","alg":"RS256","kid":"rsa"}'),
    "claims are a list": signed_raw(b"[]"),
    "claims are no text": signed_raw(b"\xff{}"),
    "nested without end": signed_raw(b'{"a":' * 500 + b"1" + b"}" * 500)[:8000],
    "oversized": sign(claims(pad="x" * 9000)),
    "four parts": sign(claims()) + ".x",
    "white space": sign(claims()).replace(".", ". ", 1),
    "padding": sign(claims()) + "==",
    "another spelling of the signature": sign(claims())[:-1] + "_" if not sign(claims()).endswith("_") else "a.b.c",
    "unicode digits": sign(claims()).replace(".", "\uff0e"),
    "empty": "..",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_is_no_good_is_refused(verifier: Verifier, attack: str) -> None:
    status, kind, message = await refusal(verifier, ATTACKS[attack])
    assert (status, kind) in ((401, "auth_error"), (401, "expired_key")), message
    assert message == "Token Expired" or message.startswith("Authentication Error, Validation fails: ")


async def test_strangers_cannot_make_us_fetch(verifier: Verifier, provider: Provider) -> None:
    await verified(verifier, sign(claims()))
    token = sign(claims())
    for number in range(10_000):
        await refusal(verifier, with_header(token, kid=f"k{number}"))
    assert provider.fetched <= 2
    keys = verifier._global[0]
    later = time.monotonic() + 61
    keys._now = lambda: later
    for number in range(100):
        await refusal(verifier, with_header(token, kid=f"l{number}"))
    assert provider.fetched <= 3  # a minute later: once more


async def test_a_new_key_is_found_when_it_is_used(provider: Provider, outbound: Outbound) -> None:
    verifier = Verifier(outbound, auth(provider.url))
    keys = verifier._global[0]
    keys._now = lambda: 0.0  # all in one instant
    await verified(verifier, sign(claims()))
    provider.keys.append(jwk("rsa", OTHER_RSA_KEY, kid="new"))
    token = sign(claims(), key=OTHER_RSA_KEY, kid="new")
    found = await asyncio.gather(*(verified(verifier, token) for _ in range(20)))
    assert len(found) == 20 and provider.fetched == 2
    await verifier.close()


async def test_strangers_cannot_hold_up_a_new_key_for_longer_than_a_minute(
    provider: Provider, outbound: Outbound
) -> None:
    verifier = Verifier(outbound, auth(provider.url))
    keys, now = verifier._global[0], 0.0
    keys._now = lambda: now
    stranger = sign(claims())
    await refusal(verifier, with_header(stranger, kid="a"))
    await refusal(verifier, with_header(stranger, kid="b"))
    assert provider.fetched == 1  # the first one's is the one of this minute
    provider.keys.append(jwk("rsa", OTHER_RSA_KEY, kid="new"))
    token = sign(claims(), key=OTHER_RSA_KEY, kid="new")
    for now in (1.0, 30.0, 59.0):
        assert (await refusal(verifier, token))[0] == 401
        await refusal(verifier, with_header(stranger, kid=f"c{now}"))
    now = 60.0
    await verified(verifier, token)
    assert provider.fetched == 2
    await verifier.close()


async def test_keys_serve_while_the_provider_is_down_and_then_no_more(provider: Provider, outbound: Outbound) -> None:
    verifier = Verifier(outbound, auth(provider.url))
    now = 0.0
    verifier._global[0]._now = lambda: now
    await verified(verifier, sign(claims()))
    provider.status, now = 500, 3000.0
    await verified(verifier, sign(claims(jti="2")))
    now = 4200.0
    await asyncio.sleep(0.05)
    status, kind, _ = await refusal(verifier, sign(claims(jti="3")))
    assert (status, kind) == (503, "auth_provider_unavailable")
    provider.status, now = 200, 4300.0
    await verified(verifier, sign(claims(jti="3")))
    await verifier.close()


async def test_how_long_keys_are_good_is_a_setting(provider: Provider, outbound: Outbound) -> None:
    verifier = Verifier(outbound, auth(provider.url, public_key_ttl=10, public_key_stale_ttl=5))
    keys, now = verifier._global[0], 1000.0
    keys._now = lambda: now
    await verified(verifier, sign(claims(jti="1")))
    provider.status = 500
    for now, good in ((1014.0, True), (1016.0, False)):
        token = sign(claims(jti=str(now)))
        if good:
            await verified(verifier, token)
        else:
            assert (await refusal(verifier, token))[0] == 503
    provider.status = 200
    await verifier.close()


async def test_a_provider_that_never_answered_is_a_503(outbound: Outbound) -> None:
    verifier = Verifier(outbound, auth("http://127.0.0.1:9/jwks"))
    assert (await refusal(verifier, sign(claims())))[0] == 503
    await verifier.close()


async def test_without_a_providers_address_no_token_is_good(outbound: Outbound) -> None:
    auth = read({"enable_jwt_auth": True}, {})
    assert auth is not None
    status, _, message = await refusal(Verifier(outbound, auth), sign(claims()))
    assert status == 401 and "JWT_PUBLIC_KEY_URL isn't set" in message
    found = parse("general_settings: {enable_jwt_auth: true}", {})
    assert found.keys[0].verdict == "no effect" and "every token is refused" in found.warnings[0]
    assert not parse("general_settings: {enable_jwt_auth: true}", {"JWT_PUBLIC_KEY_URL": "https://i.example"}).warnings


async def test_discovery_and_tokens_without_a_key_id(provider: Provider, outbound: Outbound) -> None:
    verifier = Verifier(outbound, auth(provider.discovery))
    assert (await verified(verifier, sign(claims(), kid=None)))["sub"] == "u1"
    await verifier.close()


async def test_issuers_have_keys_of_their_own(provider: Provider, outbound: Outbound) -> None:
    """The same key id at two issuers: each one's tokens verify with its own key, and not with the
    other's.
    """
    other = Provider()
    other.keys = [jwk("rsa", OTHER_RSA_KEY)]
    runner = await other.serve()
    issuers = [{"issuer": "https://other.example", "jwks_url": other.url, "audience": ["gateway", "x"]}]
    verifier = Verifier(outbound, auth(provider.url, issuers=issuers))
    theirs = claims(iss="https://other.example")
    assert (await verified(verifier, sign(theirs, key=OTHER_RSA_KEY)))["iss"] == "https://other.example"
    assert (await refusal(verifier, sign(theirs)))[0] == 401
    assert (await refusal(verifier, sign(claims(), key=OTHER_RSA_KEY)))[0] == 401
    await verifier.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "broken",
    [
        {"use": "enc"}, {"key_ops": ["encrypt"]}, {"kty": "oct", "k": "AAAA"}, {"n": "AQAB"}, {"kty": "EC"}, {"crv": "P-256"}, {"n": 7},
        {"alg": "HS256"}, {"alg": "none"}, {"e": ""},
    ],
)  # fmt: skip
def test_keys_that_cannot_verify_are_passed_over(broken: dict[str, Any]) -> None:
    found = of_jwk({**jwk("rsa", RSA_KEY), **broken})
    if broken == {"crv": "P-256"}:
        assert found is not None  # a stray name in an RSA key
        return
    assert found is None
    with pytest.raises(ValueError):
        of_jwks({"keys": [{**jwk("rsa", RSA_KEY), **broken}]})


def test_a_key_that_names_its_algorithm_takes_no_other() -> None:
    found = of_jwk(jwk("rsa", RSA_KEY, alg="RS512"))
    assert found is not None and list(found.verifiers) == ["RS512"]


times = st.integers(NOW - 2000, NOW + 2000)
MUTATIONS = st.fixed_dictionaries(
    {},
    optional={
        "exp": times, "nbf": times, "iat": times, "aud": st.sampled_from(["gateway", "other", ["other", "gateway"], ["other"], [], None]),
        "iss": st.sampled_from(["https://idp.example", "https://x.example", None]),
    },
)  # fmt: skip


async def test_what_the_provider_says_of_a_person(provider: Provider, outbound: Outbound) -> None:
    """`oidc_userinfo_enabled`: before the token's claims, never instead of its own; asked again
    after its time.
    """
    endpoint = f"http://127.0.0.1:{provider.port}/userinfo"
    rules = {"oidc_userinfo_enabled": True, "oidc_userinfo_endpoint": endpoint, "oidc_userinfo_cache_ttl": 60}
    now = time.time()
    verifier = Verifier(outbound, auth(provider.url, **rules), now=lambda: now)
    provider.userinfo = {"sub": "u1", "groups": ["a"], "aud": "elsewhere", "exp": 1}
    token = sign(claims(groups=["old"], sub="u1"))
    said = await verified(verifier, token)
    assert said["groups"] == ["a"] and said["aud"] == "gateway" and said["exp"] > now
    provider.userinfo = {"sub": "u1", "groups": ["b"]}
    assert (await verified(verifier, token))["groups"] == ["a"]
    now += 61
    assert (await verified(verifier, token))["groups"] == ["b"]
    for answer, wanted in (({"sub": "somebody else"}, 401), (401, 401), (500, 503), ([], 503)):
        provider.userinfo = answer
        status, _, message = await refusal(verifier, sign(claims(sub="u1", jti=str(answer))))
        assert status == wanted, message
    await verifier.close()


OWN = """
def only_staff(claims):
    if "boom" in claims:
        raise RuntimeError("boom")
    return claims.get("staff") is True


nothing = 7
"""


async def test_the_operators_own_function_has_the_last_word(
    provider: Provider, outbound: Outbound, tmp_path: Path
) -> None:
    (tmp_path / "own_rules.py").write_text(OWN)
    rules = auth(provider.url, custom_validate="own_rules.only_staff")
    verifier = Verifier(outbound, rules, validate=own_validate(rules, str(tmp_path)))
    assert (await verified(verifier, sign(claims(staff=True))))["staff"]
    for more in ({}, {"staff": 1}, {"staff": True, "boom": 1}):
        assert (await refusal(verifier, sign(claims(**more))))[0] == 401
    await verifier.close()
    for named, sentence in (
        ("own_rules.nobody", "AttributeError"), ("own_rules.nothing", "no function"), ("elsewhere.f", "no file"), ("../x.f", "no module"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=sentence):
            own_validate(auth(provider.url, custom_validate=named), str(tmp_path))


async def test_an_issuer_may_leave_its_audience_open(provider: Provider, outbound: Outbound) -> None:
    issuer = {"issuer": "https://open.example", "jwks_url": provider.url, "disable_audience_validation": True}
    verifier = Verifier(outbound, auth(provider.url, issuers=[issuer]))
    assert (await verified(verifier, sign(claims(iss="https://open.example", aud="anything"))))["aud"] == "anything"
    assert (await refusal(verifier, sign(claims(aud="anything"))))[0] == 401
    await verifier.close()


@settings(max_examples=300, deadline=None)
@given(MUTATIONS, st.sampled_from(["RS256", "ES256", "EdDSA", "PS256"]), st.sampled_from(["keep", "flip", "other"]))
def test_pyjwt_agrees(changed: dict[str, Any], algorithm: str, signature: str) -> None:
    """Another library, told the same rules, lets in the same tokens."""
    token = sign(claims(**changed), algorithm)
    if signature == "flip":
        token = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    name = ALGORITHM_KEYS[algorithm]
    public = KEYS[name].public_key() if signature != "other" else OTHER_RSA_KEY.public_key()
    now = time.time()
    try:
        jwt.decode(
            token, public, [algorithm], audience="gateway", issuer="https://idp.example", options={"require": ["exp"]}
        )
        theirs = True
    except (jwt.PyJWTError, TypeError, AttributeError, ValueError):
        theirs = False
    key = of_jwk(jwk(name, KEYS[name])) if signature != "other" else of_jwk(jwk("rsa", OTHER_RSA_KEY))
    assert key is not None
    try:
        taken = take_apart(token)
        check_claims(taken.claims, now_s=now, leeway_s=0, audiences=["gateway"], issuers=["https://idp.example"])
        verify = key.verifiers.get(taken.algorithm)
        ours = verify is not None and verify(taken.signed, taken.signature)
    except TokenError:
        ours = False
    assert ours == theirs
