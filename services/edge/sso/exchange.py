"""The two questions to the identity provider: the code for a token, and who that token is about."""

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import structlog

from services.edge.sso.flow import Attempt, SsoError, check_id_token
from services.edge.sso.settings import Provider
from shared.decoding import UNREADABLE
from shared.identity.tokens import TokenError, claims_unverified
from shared.outbound import Outbound, OutboundError

DEADLINE_MS = 8_000
ANSWER_BYTES_MAX = 256 * 1024
GROUP_PAGES_MAX = 20
"""Of 999 groups."""
_GROUP = "#microsoft.graph.group"
"""Among roles and administrative units."""

log = structlog.get_logger()


async def claims_of(
    outbound: Outbound, provider: Provider, attempt: Attempt, code: str, now_s: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(claims of the id token, userinfo). Raises SsoError."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
        "client_id": provider.client_id,
    }
    headers = {
        **provider.headers,
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    answer = None
    for more_headers, more_form in _secret_told(provider.client_id, provider.client_secret.reveal()):
        body = urlencode(form | more_form).encode()
        answer = await _ask(outbound, "POST", provider.token_endpoint, headers | more_headers, body)
        if answer is not None:
            break
    if answer is None:
        raise SsoError(401, "The identity provider refused the login.")
    claims: dict[str, Any] = {}
    id_token = answer.get("id_token")
    if isinstance(id_token, str):
        try:
            claims = claims_unverified(id_token)
        except TokenError:
            raise SsoError(502, "The identity provider's token can't be read.") from None
        check_id_token(provider, attempt, claims, now_s)
    access_token = answer.get("access_token")
    userinfo: dict[str, Any] = {}
    if isinstance(access_token, str) and access_token.isascii() and access_token.isprintable():
        bearer = {**provider.headers, "Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        userinfo = await _ask(outbound, "GET", provider.userinfo_endpoint, bearer, None) or {}
        if provider.groups_endpoint and _has_too_many_groups(claims):
            claims = {**claims, provider.groups_claim: await _groups(outbound, provider.groups_endpoint, bearer)}
    if not claims and not userinfo:
        raise SsoError(401, "Result not returned by SSO provider.")
    if provider.access_claims and isinstance(access_token, str):
        claims = {**_access_claims(access_token, (claims or userinfo).get("sub")), **claims}
    return claims, userinfo


def _secret_told(client_id: str, secret: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """(headers, form) of each way in which providers take the client's secret: as RFC 6749 §2.3.1
    wants it; not encoded first, where that makes a difference; in the form.
    """
    encoded = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    for pair in dict.fromkeys((encoded, f"{client_id}:{secret}")):
        yield {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}
    yield {}, {"client_secret": secret}


def _access_claims(access_token: str, subject: Any) -> dict[str, Any]:
    """Of a token that the token endpoint gave us for this very login; nothing, where it isn't
    readable or is about somebody else.
    """
    try:
        claims = claims_unverified(access_token)
    except TokenError:
        return {}
    return claims if claims.get("sub") == subject else {}


def _has_too_many_groups(claims: dict[str, Any]) -> bool:
    """Microsoft's overage claim: the groups stand elsewhere."""
    elsewhere = claims.get("_claim_names")
    return "groups" not in claims and (
        claims.get("hasgroups") in (True, "true") or (isinstance(elsewhere, dict) and "groups" in elsewhere)
    )


async def _groups(outbound: Outbound, endpoint: str, headers: dict[str, str]) -> list[str]:
    """Ids, page by page. Raises SsoError: rights that hang on a group that wasn't read would be
    lost without a word.
    """
    found: list[str] = []
    address, host = endpoint, endpoint.split("/", 3)[:3]
    for _ in range(GROUP_PAGES_MAX):
        page = await _ask(outbound, "GET", address, headers, None)
        if page is None:
            log.warning("groups_refused", asked=host[2], needed="User.Read")
            raise SsoError(502, "The identity provider doesn't say which groups you are in.")
        items = page.get("value")
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and item.get("@odata.type") == _GROUP and isinstance(item.get("id"), str):
                found.append(item["id"])
        following = page.get("@odata.nextLink")
        if following is None:
            return found
        if not isinstance(following, str) or following.split("/", 3)[:3] != host:
            break  # the token is for this host alone
        address = following
    raise SsoError(502, "The identity provider's list of your groups can't be read.")


async def _ask(
    outbound: Outbound, method: str, url: str, headers: dict[str, str], body: bytes | None
) -> dict[str, Any] | None:
    """None where the provider says no. Raises SsoError where it can't be asked, or says what nobody
    can read.
    """
    try:
        answer = await outbound.send(
            method, url, headers=headers, body=body, deadline_ms=DEADLINE_MS, answer_bytes_max=ANSWER_BYTES_MAX
        )
    except OutboundError:
        raise SsoError(503, "The identity provider can't be reached at the moment.") from None
    if answer.status in (400, 401, 403):
        return None
    if answer.status != 200:
        raise SsoError(502, "The identity provider failed.")
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except UNREADABLE:
        raise SsoError(502, "The identity provider's answer can't be read.") from None
