"""Tokens at length: another library agrees on 10,000 of them; one seen first costs little, and a
warm one what a virtual key costs.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge import reading
from services.edge.http import Request
from services.edge.tokens import Tokens
from shared.identity.verifier import Verifier
from shared.ids import digest_key
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.identity import test_verifier
from tests.identity.identity_kit import ALGORITHM_KEYS, KEYS, Provider, auth, claims, sign
from tests.support.pace import at_pace

AGREES: Any = test_verifier.test_pyjwt_agrees.hypothesis.inner_test  # type: ignore[attr-defined]


@settings(max_examples=10_000, deadline=None)
@given(
    test_verifier.MUTATIONS,
    st.sampled_from(["RS256", "RS384", "ES256", "ES512", "EdDSA", "PS256", "PS512"]),
    st.sampled_from(["keep", "flip", "other"]),
)
def test_pyjwt_agrees_on_ten_thousand(changed: dict[str, Any], algorithm: str, signature: str) -> None:
    AGREES(changed, algorithm, signature)


class Asked:
    """As much of a request as its head needs: one after the first on its connection."""

    remote = "127.0.0.1"
    query = ""
    path = "/v1/chat/completions"

    def __init__(self, credential: str) -> None:
        self._headers = {"authorization": f"Bearer {credential}"}
        self.head = object()
        self.credential = reading.Credential(cast(Request, self), credential)

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def field(self, name: bytes) -> bytes:
        return self._headers[name.decode()].encode()

    def has_none_of(self, names: Any) -> bool:
        return True


async def test_a_warm_token_costs_what_a_key_costs() -> None:
    """Reading the credential and knowing whose it is, in microseconds: the difference is the look
    at when the token ends, a fiftieth of a call's own 95.
    """
    provider = Provider()
    runner = await provider.serve()
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    tokens = Tokens(Verifier(outbound, auth(provider.url)))
    token = Asked(sign(claims(groups=[f"team-{n}" for n in range(20)])))
    key = Asked("sk-" + "k" * 22)

    async def microseconds(asked: Any) -> float:
        begun = time.process_time()
        for _ in range(2_000):
            head = reading.head(asked)
            await tokens.identify(head, asked)
            tokens.claims(head.digest)
        return (time.process_time() - begun) / 2_000 * 1e6

    await microseconds(token)
    of_token = statistics.median([await microseconds(token) for _ in range(9)])
    of_key = statistics.median([await microseconds(key) for _ in range(9)])
    print(f"\na key {of_key:.1f} us, a warm token {of_token:.1f} us")
    assert of_token - of_key < at_pace(2)
    await tokens.close()
    await outbound.close()
    await runner.cleanup()


def bare(algorithm: str) -> Callable[[], None]:
    """The library's own check of one ECDSA signature and nothing else."""
    key: Any = KEYS[ALGORITHM_KEYS[algorithm]]
    scheme = ec.ECDSA({"ES384": hashes.SHA384(), "ES512": hashes.SHA512()}[algorithm])
    signed = b"x" * 300
    signature, public = key.sign(signed, scheme), key.public_key()
    return lambda: public.verify(signature, signed, scheme)


async def cold(algorithm: str, beside: Callable[[], None]) -> tuple[float, float]:
    """Microseconds of the processor: of a token's signature and claims where nobody has seen it,
    and of `beside`, in turn.
    """
    provider = Provider()
    runner = await provider.serve()
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    verifier = Verifier(outbound, auth(provider.url))
    fresh = [sign(claims(jti=str(n)), algorithm) for n in range(300)]
    spent: list[float] = []
    other: list[float] = []
    for n, token in enumerate(fresh):
        digest = digest_key(token)
        begun = time.process_time()
        await verifier.claims(token, digest)
        between = time.process_time()
        beside()
        if n >= 10:  # the provider's keys are there
            spent.append((between - begun) * 1e6)
            other.append((time.process_time() - between) * 1e6)
    await verifier.close()
    await outbound.close()
    await runner.cleanup()
    return statistics.median(spent), statistics.median(other)


@pytest.mark.parametrize("algorithm", sorted({*ALGORITHM_KEYS} - {"ES384", "ES512"}))
async def test_a_token_seen_first_costs_little(algorithm: str) -> None:
    spent, _ = await cold(algorithm, lambda: None)
    print(f"\n{algorithm}: {spent:.0f} us")
    assert spent <= at_pace(300)


@pytest.mark.parametrize("algorithm", ["ES384", "ES512"])
async def test_a_token_of_a_large_curve_costs_what_its_signature_costs(algorithm: str) -> None:
    """OpenSSL takes more than 300 us for a signature of P-384 or P-521 alone."""
    spent, alone = await cold(algorithm, bare(algorithm))
    print(f"\n{algorithm}: {spent:.0f} us, its signature alone {alone:.0f} ({spent / alone:.2f} x)")
    assert spent <= max(at_pace(300), 1.5 * alone)
