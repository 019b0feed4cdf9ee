"""A token to its claims: verified once, then found by the digest of the token until it ends."""

import time
from collections.abc import Callable
from typing import Any

from shared import errors
from shared.errors import RefusedError
from shared.identity.keysets import DISCOVERY, KeySet, KeysUnavailableError
from shared.identity.settings import Issuer, JwtAuth
from shared.identity.tokens import Token, TokenError, check_claims, ends_at_s, take_apart
from shared.ids import KeyDigest
from shared.outbound import Outbound

VERIFIED_MAX = 10_000


class Verifier:
    """
    Args:
        now: Unix seconds.
    """

    def __init__(self, outbound: Outbound, auth: JwtAuth, *, now: Callable[[], float] = time.time) -> None:
        self._auth = auth
        self._now = now
        self._outbound = outbound
        self._global = [self._key_set(url) for url in auth.key_urls]
        self._issuers: dict[str, tuple[Issuer, KeySet]] = {
            each.issuer: (each, self._key_set(each.jwks_url or each.issuer.rstrip("/") + DISCOVERY))
            for each in auth.rules.issuers or []
        }
        self._verified: dict[KeyDigest, dict[str, Any]] = {}

    async def claims(self, text: str, digest: KeyDigest) -> dict[str, Any]:
        """The token's claims. Raises RefusedError: 401 for a token that is no good, 503 where nobody can say."""
        known = self._verified.get(digest)
        leeway_s = self._auth.rules.leeway
        if known is not None:
            if self._now() < ends_at_s(known) + leeway_s:
                return known
            del self._verified[digest]
        try:
            token = take_apart(text)
            await self._verify(token, leeway_s)
        except TokenError as error:
            raise RefusedError(errors.token_refused(error.code, str(error))) from None
        except KeysUnavailableError:
            raise RefusedError(errors.identity_provider_unavailable()) from None
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = token.claims
        return token.claims

    async def close(self) -> None:
        for keys in (*self._global, *(keys for _, keys in self._issuers.values())):
            await keys.close()

    async def _verify(self, token: Token, leeway_s: float) -> None:
        """The claims are looked at first: nobody makes us fetch keys for a token that is no good in any case."""
        named = token.claims.get("iss")
        found = self._issuers.get(named) if isinstance(named, str) else None
        if found is not None:
            issuer, keys = found
            audience = [] if issuer.disable_audience_validation else issuer.audience
            audiences = [audience] if isinstance(audience, str) else audience or []
            self._check(token, leeway_s, audiences, [issuer.issuer])
            await self._check_signature(token, [keys])
            return
        if not self._global:
            raise TokenError("issuer", "Invalid issuer")
        self._check(token, leeway_s, self._auth.audiences, self._auth.issuers)
        await self._check_signature(token, self._global)

    def _check(self, token: Token, leeway_s: float, audiences: list[str], issuers: list[str]) -> None:
        check_claims(token.claims, now_s=self._now(), leeway_s=leeway_s, audiences=audiences, issuers=issuers)

    async def _check_signature(self, token: Token, sets: list[KeySet]) -> None:
        """In the sets' order. One that is down is passed over while another may still know the key."""
        down: KeysUnavailableError | None = None
        seen = False
        for keys in sets:
            try:
                found = await keys.find(token.key_id, token.algorithm)
            except KeysUnavailableError as error:
                down = error
                continue
            for key in found:
                seen = True
                if key.verifiers[token.algorithm](token.signed, token.signature):
                    return
        if down is not None:
            raise down
        if seen:
            raise TokenError("signature", "Signature verification failed.")
        raise TokenError("unknown_key", "No matching public key found.")

    def _key_set(self, url: str) -> KeySet:
        rules = self._auth.rules
        return KeySet(self._outbound, url, ttl_s=rules.public_key_ttl, stale_ttl_s=rules.public_key_stale_ttl)
