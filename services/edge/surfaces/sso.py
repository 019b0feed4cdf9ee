"""Login and logout of the admin page: by an identity provider, or by password. A session is a
short-lived key of its user.
"""

import hmac
import os
import secrets
from typing import Any

import msgspec

from services.edge import answers
from services.edge.http import Answer, Request, WholeAnswer
from services.edge.pages import forms, render, site, words
from services.edge.pages.forms import Form
from services.edge.pages.placed import below
from services.edge.pages.visitor import Visitor, language_of, session_of
from services.edge.parts import Parts
from services.edge.sso import cookies, exchange, flow, known
from services.edge.sso.cookies import LOGIN, SESSION, Origin
from services.edge.sso.flow import SsoError
from services.edge.sso.throttle import Guess, source_of
from services.edge.surfaces import invited
from services.edge.surfaces.pages import NOWHERE, PLAIN_HTTP, origin_of, visitor_of
from services.edge.surfaces.vouching import tell_failure, vouch
from shared import errors
from shared.errors import RefusedError
from shared.ids import abbreviate_key, digest_key, new_virtual_key
from shared.routes import Match


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    return below(await _serve(parts, request, match), parts.site.root_path)


async def _serve(parts: Parts, request: Request, match: Match) -> Answer:
    if parts.sso.settings.disabled:
        raise RefusedError(errors.not_found(request.method, request.path))
    name = match.route.name
    if name == "/sso/readiness":
        return _readiness(parts)
    seen_from = origin_of(parts, request)
    visitor = Visitor(seen_from or NOWHERE, language_of(request, forms.of_query(request.query)["lang"]))
    if seen_from is None:
        return site.message(parts, request, visitor, 403, PLAIN_HTTP)
    try:
        if name == "/sso/key/generate":
            return _leave(parts, request, seen_from)
        if name == "/sso/callback":
            return await _return(parts, request, seen_from)
        if name == "POST /ui/login":
            return await _password(parts, request, seen_from, visitor)
        if name == "/ui/invitation":
            return await invited.form(parts, request, visitor)
        if name == "POST /ui/invitation":
            return await _invitation(parts, request, seen_from, visitor)
        if name == "/ui/logout":
            return await _logout(parts, request, seen_from)
        if name == "/ui/me":
            return await _me(parts, request, seen_from)
    except SsoError as error:
        forget = seen_from.set_line(LOGIN, "", 0)
        return site.message(parts, request, visitor, error.status, str(error), forget)
    return _form(parts, visitor, forms.of_query(request.query)["next"])


# ── by an identity provider ──


def _leave(parts: Parts, request: Request, seen_from: Origin) -> WholeAnswer:
    settings, key = parts.sso.settings, parts.sso.sealing_key()
    if settings.missing:
        raise SsoError(503, f"{settings.missing[0]} not set. Set it in .env file")
    if settings.provider is None:
        return render.redirect("/ui/login")
    if key is None:
        raise SsoError(503, "Without a master key nobody can sign in.")
    back = seen_from.base + "/sso/callback"
    attempt = flow.begin(
        back, forms.of_query(request.query)["next"], parts.clock.unix_ms() / 1000, lambda: secrets.token_urlsafe(32)
    )
    sealed = flow.seal(key, attempt, os.urandom(12))
    return render.redirect(
        flow.authorization_url(settings.provider, attempt), seen_from.set_line(LOGIN, sealed, flow.LOGIN_S)
    )


async def _return(parts: Parts, request: Request, seen_from: Origin) -> WholeAnswer:
    settings, keys, outbound = parts.sso.settings, parts.sso.sealing_keys(), parts.sso.outbound
    if settings.provider is None or not keys or outbound is None:
        raise SsoError(404, "Single sign-on isn't configured.")
    now_s = parts.clock.unix_ms() / 1000
    attempt = flow.unseal(keys, seen_from.read(request.header("cookie"), LOGIN) or "", now_s)
    query = forms.of_query(request.query)
    code = flow.check_answer(attempt, dict(query.pairs))
    try:
        claims, userinfo = await exchange.claims_of(outbound, settings.provider, attempt, code, now_s)
        person = flow.person(settings, settings.provider, claims, userinfo)
    except SsoError as error:
        if error.status in (401, 403):
            await tell_failure(parts, request, settings.provider.name)
        raise
    body = {
        "user_id": person.user_id,
        "user_email": person.email,
        "user_alias": person.name,
        "user_role": person.role,
        "default_role": settings.default_role,
        "groups": person.groups,
        "how": f"{settings.provider.name}: {person.source}" if person.source else settings.provider.name,
    }
    return await _session(parts, request, seen_from, body, attempt.return_to)


# ── by password ──


def _form(parts: Parts, visitor: Visitor, then: str, error: str = "", status: int = 200) -> WholeAnswer:
    settings = parts.sso.settings
    values = {
        "brand": site.brand(parts),
        "error": error,
        "sso": settings.provider.name if settings.provider is not None else "",
        "password": settings.user_passwords
        or (settings.password_login and bool(parts.sso.password or parts.sso.master_key)),
        "next": then if then.startswith("/ui") else "",
    }
    return render.page("login.html", values, language=visitor.language, status=status)


async def _password(parts: Parts, request: Request, seen_from: Origin, visitor: Visitor) -> WholeAnswer:
    sso, say = parts.sso, words.say
    if not (sso.settings.password_login or sso.settings.user_passwords):
        raise SsoError(403, say(visitor.language, "login.none"))
    _check_same_origin(request, seen_from, visitor)
    form = await forms.read(request, parts.settings.edge_body_timeout_ms)
    account = known.account_of(form["username"])
    browser = known.browser_of(sso.sealing_keys(), account, seen_from.read(request.header("cookie"), known.KNOWN))
    guess = Guess(f"browser {browser}") if browser else Guess(source_of(request.remote), account)
    waits_s = sso.guesses.waits_s(guess, parts.clock.unix_ms() / 1000)
    if waits_s:
        return _form(parts, visitor, form["next"], say(visitor.language, "login.wait", seconds=waits_s), 429)
    body = await _by_password(parts, request, form)
    if body is None:
        await tell_failure(parts, request, "password", guess)
        return _form(parts, visitor, form["next"], say(visitor.language, "login.wrong"), 401)
    if "known" not in body:  # a user's own password would pay for guesses of others'
        sso.guesses.succeeded(guess)
    key = sso.sealing_key()
    value = known.told(key, account, browser or secrets.token_hex(known.ID_BYTES)) if key else ""
    line = seen_from.set_line(known.KNOWN, value, known.KNOWN_S if value else 0)
    return await _session(parts, request, seen_from, {**body, "how": "password"}, flow.inside(form["next"]), line)


async def _by_password(parts: Parts, request: Request, form: Form) -> dict[str, Any] | None:
    """Whose the password is: the operators', or a user's own."""
    sso = parts.sso
    wanted = sso.password or sso.master_key
    if sso.settings.password_login and wanted is not None and _equal(form["username"], sso.username):
        good = _equal(form["password"], wanted.reveal())
        return {"user_id": "default_user_id", "user_role": "proxy_admin"} if good else None
    if not sso.settings.user_passwords:
        return None
    found = await invited.signed_in(parts, request, form["username"], form.exact("password"))
    return None if found is None else {**found, "known": True}


async def _invitation(parts: Parts, request: Request, seen_from: Origin, visitor: Visitor) -> WholeAnswer:
    """Whoever has set a password is signed in."""
    _check_same_origin(request, seen_from, visitor)
    sent = await forms.read(request, parts.settings.edge_body_timeout_ms)
    try:
        user_id = await invited.accept(parts, request, visitor, sent)
    except invited.Again as again:
        return again.page
    return await _session(parts, request, seen_from, {"user_id": user_id, "known": True, "how": "invitation"}, "/ui")


def _check_same_origin(request: Request, seen_from: Origin, visitor: Visitor) -> None:
    if not cookies.same_origin(seen_from, request.header("origin"), request.header("sec-fetch-site")):
        raise SsoError(403, words.say(visitor.language, "csrf"))


def _equal(sent: str, wanted: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "replace"), wanted.encode())


# ── sessions ──


async def _session(
    parts: Parts, request: Request, seen_from: Origin, body: dict[str, Any], then: str, more_lines: str = ""
) -> WholeAnswer:
    plaintext = new_virtual_key()
    lasts_s = parts.sso.settings.session_s
    named = {
        **{name: value for name, value in body.items() if value is not None},
        "token": digest_key(plaintext),
        "key_name": abbreviate_key(plaintext),
        "lasts_ms": lasts_s * 1000,
    }
    await vouch(parts, request, "/sso/session", named)
    lines = seen_from.set_line(SESSION, plaintext, lasts_s) + seen_from.set_line(LOGIN, "", 0) + more_lines
    return render.redirect(then, lines)


async def _logout(parts: Parts, request: Request, seen_from: Origin) -> WholeAnswer:
    session = session_of(request, seen_from)
    if session:
        form = await forms.read(request, parts.settings.edge_body_timeout_ms)
        if not cookies.csrf_holds(session, form["csrf"]):
            raise SsoError(403, "This form isn't of your session.")
        await vouch(parts, request, "/sso/end", {"token": digest_key(session)})
    return render.redirect(parts.sso.settings.logout_url or "/ui/login", seen_from.set_line(SESSION, "", 0))


async def _me(parts: Parts, request: Request, seen_from: Origin) -> WholeAnswer:
    visitor = await visitor_of(parts, request, seen_from)
    if not visitor.role:
        raise RefusedError(errors.no_key())
    return answers.own(msgspec.json.encode({"user_id": visitor.user_id, "user_role": visitor.role}))


def _readiness(parts: Parts) -> WholeAnswer:
    settings = parts.sso.settings
    if settings.missing:
        body: dict[str, Any] = {
            "status": "unhealthy",
            "sso_configured": True,
            "missing_environment_variables": list(settings.missing),
        }
        return answers.own(msgspec.json.encode(body), 503)
    body = {"status": "healthy", "sso_configured": settings.provider is not None}
    if settings.provider is not None:
        body["provider"] = settings.provider.name
    return answers.own(msgspec.json.encode(body))
