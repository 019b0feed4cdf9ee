"""A token to its claims: verified once, then found by the digest of the token until it ends."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from shared import errors, own_code
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.identity.keysets import DISCOVERY, KeySet, KeysUnavailableError
from shared.identity.settings import Issuer, JwtAuth
from shared.identity.tokens import Token, TokenError, check_claims, ends_at_s, take_apart
from shared.ids import KeyDigest
from shared.outbound import Outbound, OutboundError
from shared.settings import SettingsError

log = structlog.get_logger()

VERIFIED_MAX = 10_000
USERINFO_DEADLINE_MS = 5_000
USERINFO_BYTES_MAX = 256 * 1024
OF_THE_TOKEN = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "client_id", "scope", "scp"})
"""Claims for which the token alone counts."""

Validate = Callable[[dict[str, Any]], Any]


def own_validate(auth: JwtAuth, directory: str) -> Validate | None:
    """The operator's own function, where the rules name one. Raises SettingsError."""
    dotted = auth.rules.custom_validate
    if dotted is None:
        return None
    try:
        found: Validate = own_code.load(directory, dotted)
    except own_code.OwnCodeError as error:
        raise SettingsError(f"general_settings.litellm_jwtauth.custom_validate: {error}") from None
    if not callable(found):
        raise SettingsError(f"general_settings.litellm_jwtauth.custom_validate: {dotted} is no function")
    return found


class Verifier:
    """
    Args:
        validate: the operator's own function, besides all other rules.
        now: Unix seconds.
    """

    def __init__(
        self,
        outbound: Outbound,
        auth: JwtAuth,
        *,
        validate: Validate | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._auth = auth
        self._validate = validate
        self._now = now
        self._outbound = outbound
        self._global = [self._key_set(url) for url in auth.key_urls]
        self._issuers: dict[str, tuple[Issuer, KeySet]] = {
            each.issuer: (each, self._key_set(each.jwks_url or each.issuer.rstrip("/") + DISCOVERY))
            for each in auth.rules.issuers or []
        }
        self._verified: dict[KeyDigest, tuple[dict[str, Any], float]] = {}
        """Claims, and until when they are believed."""

    async def claims(self, text: str, digest: KeyDigest) -> dict[str, Any]:
        """The token's claims. Raises RefusedError: 401 for a token that is no good, 503 where
        nobody can say.
        """
        known = self._verified.get(digest)
        if known is not None:
            if self._now() < known[1]:
                return known[0]
            del self._verified[digest]
        rules = self._auth.rules
        try:
            token = take_apart(text)
            await self._verify(token, rules.leeway)
            said, until_s = token.claims, ends_at_s(token.claims) + rules.leeway
            if rules.oidc_userinfo_enabled:
                said = await self._with_userinfo(text, said)
                until_s = min(until_s, self._now() + rules.oidc_userinfo_cache_ttl)
            if self._validate is not None:
                self._check_by_own(self._validate, said)
        except TokenError as error:
            raise RefusedError(errors.token_refused(error.code, str(error))) from None
        except KeysUnavailableError:
            raise RefusedError(errors.identity_provider_unavailable()) from None
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = said, until_s
        return said

    async def close(self) -> None:
        for keys in (*self._global, *(keys for _, keys in self._issuers.values())):
            await keys.close()

    async def _verify(self, token: Token, leeway_s: float) -> None:
        """The claims are looked at first: nobody makes us fetch keys for a token that is no good in
        any case.
        """
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
            raise TokenError("issuer", "Invalid issuer" if self._issuers else "JWT_PUBLIC_KEY_URL isn't set here")
        self._check(token, leeway_s, self._auth.audiences, self._auth.issuers)
        await self._check_signature(token, self._global)

    async def _with_userinfo(self, text: str, claims: dict[str, Any]) -> dict[str, Any]:
        """The claims, and before them what the provider says of the person now. Raises TokenError,
        KeysUnavailableError.
        """
        url = self._auth.rules.oidc_userinfo_endpoint or ""
        headers = {"Authorization": f"Bearer {text}", "Accept": "application/json"}
        try:
            answer = await self._outbound.send(
                "GET", url, headers=headers, deadline_ms=USERINFO_DEADLINE_MS, answer_bytes_max=USERINFO_BYTES_MAX
            )
        except OutboundError as error:
            log.warning("userinfo_not_fetched", url=url[:200], error=error.code)
            raise KeysUnavailableError(url) from None
        if answer.status in (400, 401, 403):
            raise TokenError("claims", "the identity provider doesn't know this token")
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, Any]) if answer.status == 200 else None
        except UNREADABLE:
            found = None
        if found is None:
            log.warning("userinfo_not_fetched", url=url[:200], status=answer.status)
            raise KeysUnavailableError(url)
        if found.get("sub") != claims.get("sub"):
            raise TokenError("claims", "the identity provider speaks of somebody else")
        return {**claims, **{name: value for name, value in found.items() if name not in OF_THE_TOKEN}}

    def _check_by_own(self, validate: Validate, claims: dict[str, Any]) -> None:
        """Whatever isn't True, an exception included, lets nobody in."""
        try:
            good = validate(dict(claims)) is True
        except Exception as error:
            log.warning("custom_validate_failed", error=type(error).__name__)
            good = False
        if not good:
            raise TokenError("claims", "the claims aren't accepted here")

    def _check(self, token: Token, leeway_s: float, audiences: list[str], issuers: list[str]) -> None:
        check_claims(token.claims, now_s=self._now(), leeway_s=leeway_s, audiences=audiences, issuers=issuers)

    async def _check_signature(self, token: Token, sets: list[KeySet]) -> None:
        """In the sets' order. One that is down is passed over while another may still know the
        key.
        """
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
