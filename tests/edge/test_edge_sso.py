"""Single sign-on's decisions: who may come in, as what; and what a cookie, a form and a failed
login are worth.
"""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from services.edge.sso import cookies, exchange, flow
from services.edge.sso.flow import Attempt, SsoError
from services.edge.sso.settings import SsoSettings, read
from shared.outbound import Answer
from shared.settings import SettingsError

GENERIC = {
    "GENERIC_CLIENT_ID": "gateway",
    "GENERIC_CLIENT_SECRET": "s",
    "GENERIC_AUTHORIZATION_ENDPOINT": "https://idp.example/auth",
    "GENERIC_TOKEN_ENDPOINT": "https://idp.example/token",
    "GENERIC_USERINFO_ENDPOINT": "https://idp.example/me",
}
KEY = bytes(range(32))
COUNTER = iter(range(10**6))


def token() -> str:
    return f"t{next(COUNTER):042}"


def attempt(**changed: Any) -> Attempt:
    found = flow.begin("https://gw.example/sso/callback", changed.pop("then", "/ui/keys"), 1000, token)
    assert not changed
    return found


def settings(environ: dict[str, str] | None = None, **general: Any) -> SsoSettings:
    return read({**GENERIC, **(environ or {})}, general, {})


def test_providers_by_their_variables() -> None:
    assert settings().provider is not None and settings().provider.name == "generic"
    google = read({"GOOGLE_CLIENT_ID": "g", "GOOGLE_CLIENT_SECRET": "s", **GENERIC}, {}, {}).provider
    assert google is not None and (google.name, google.issuer) == ("google", "https://accounts.google.com")
    microsoft = read(
        {"MICROSOFT_CLIENT_ID": "m", "MICROSOFT_CLIENT_SECRET": "s", "MICROSOFT_TENANT": "t"}, {}, {}
    ).provider
    assert microsoft is not None and "/t/oauth2/" in microsoft.token_endpoint
    half = read({"GENERIC_CLIENT_ID": "x"}, {}, {})
    assert half.provider is None and half.missing[0] == "GENERIC_CLIENT_SECRET"
    assert read({}, {}, {}).provider is None
    assert "hidden" not in repr(settings({"GENERIC_CLIENT_SECRET": "hidden"}))


@pytest.mark.parametrize(
    ("environ", "general", "sentence"),
    [
        ({"GENERIC_TOKEN_ENDPOINT": "http://idp.example/token"}, {}, "https"),
        ({"GENERIC_ROLE_MAPPINGS_ROLES": "{"}, {}, "GENERIC_ROLE_MAPPINGS_ROLES"),
        ({"GENERIC_ROLE_MAPPINGS_ROLES": '{"king": ["a"]}'}, {}, "king"),
        ({"LITELLM_UI_SESSION_DURATION": "forever"}, {}, "LITELLM_UI_SESSION_DURATION"),
        ({}, {"ui_access_mode": "some"}, "ui_access_mode"),
        ({}, {"ui_access_mode": {"type": "x"}}, "restricted_sso_group"),
        ({"GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE": "root"}, {}, "user_role"),
    ],
)
def test_wrong_settings_are_a_sentence(environ: dict[str, str], general: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        settings(environ, **general)


def test_the_address_to_go_to_has_pkce_state_and_nonce() -> None:
    provider, begun = settings().provider, attempt()
    assert provider is not None
    asked = {
        name: values[0] for name, values in parse_qs(urlsplit(flow.authorization_url(provider, begun)).query).items()
    }
    assert asked["code_challenge_method"] == "S256" and begun.verifier not in str(asked)
    assert (asked["state"], asked["nonce"], asked["redirect_uri"]) == (
        begun.state,
        begun.nonce,
        "https://gw.example/sso/callback",
    )


def test_what_the_browser_keeps_is_sealed_and_ends() -> None:
    begun = attempt()
    sealed = flow.seal(KEY, begun, b"n" * 12)
    assert begun.verifier not in sealed and flow.unseal([KEY], sealed, 1001) == begun
    for broken, now in ((sealed[:-4] + "AAAA", 1001), ("", 1001), ("x" * 50, 1001), (sealed, 1000 + flow.LOGIN_S)):
        with pytest.raises(SsoError):
            flow.unseal([KEY], broken, now)
    with pytest.raises(SsoError):
        flow.unseal([bytes(32)], sealed, 1001)


@pytest.mark.parametrize(
    "then", ["https://evil.example", "//evil.example", "/ui//evil.example", "/ui\\evil", "/key/generate", ""]
)
def test_nobody_is_sent_elsewhere_afterwards(then: str) -> None:
    assert attempt(then=then).return_to == "/ui"


def test_the_answer_must_be_this_logins() -> None:
    begun = attempt()
    assert flow.check_answer(begun, {"state": begun.state, "code": "c"}) == "c"
    for query, status in (
        ({"state": "other", "code": "c"}, 400),
        ({"code": "c"}, 400),
        ({"state": begun.state}, 401),
        ({"state": begun.state, "error": "access_denied", "code": "c"}, 401),
    ):
        with pytest.raises(SsoError) as no:
            flow.check_answer(begun, query)
        assert no.value.status == status


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "other"},
        {"nonce": None},
        {"aud": "other"},
        {"aud": ["gateway", "x"], "azp": "x"},
        {"exp": 10},
        {"exp": None},
    ],
)
def test_an_id_token_for_somebody_else_is_refused(changed: dict[str, Any]) -> None:
    provider, begun = settings().provider, attempt()
    assert provider is not None
    good = {"nonce": begun.nonce, "aud": "gateway", "exp": 2000}
    flow.check_id_token(provider, begun, good, 1000)
    with pytest.raises(SsoError):
        flow.check_id_token(provider, begun, {**good, **changed}, 1000)


def person(of: SsoSettings, **userinfo: Any) -> flow.Person:
    assert of.provider is not None
    return flow.person(
        of,
        of.provider,
        {"sub": "s"},
        {"sub": "s", "preferred_username": "ann", "email": "ann@ours.example", **userinfo},
    )


def test_who_comes_in_and_as_what() -> None:
    assert person(settings()).role is None
    assert person(settings({"PROXY_ADMIN_ID": "ann"})).role == "proxy_admin"
    assert person(settings(), role="proxy_admin_viewer").role == "proxy_admin_viewer"
    assert person(settings(), role=["x", "internal_user", "proxy_admin"]).role == "proxy_admin"
    groups = settings({"GENERIC_ROLE_MAPPINGS_ROLES": '{"proxy_admin": ["ops team"], "internal_user": ["dev"]}'})
    assert person(groups, groups=["dev", "ops team"]).role == "proxy_admin"
    assert person(groups, groups=["dev"]).role == "internal_user"
    # in none of the groups: what the last login gave is over
    assert person(groups, groups=["ops"]).role == person(groups).role == "internal_user_viewer"


@pytest.mark.parametrize(
    ("environ", "userinfo", "name"),
    [
        ({}, {}, "s"),
        ({}, {"first_name": "Ann", "last_name": "Lee"}, "Ann Lee"),
        ({}, {"last_name": "Lee"}, "Lee"),
        ({"GENERIC_USER_FIRST_NAME_ATTRIBUTE": "given", "GENERIC_USER_LAST_NAME_ATTRIBUTE": "n.last"},
         {"given": "Ann", "n": {"last": "Lee"}, "first_name": "x"}, "Ann Lee"),
        ({"GENERIC_USER_DISPLAY_NAME_ATTRIBUTE": "nick"}, {"nick": "annie", "first_name": "Ann"}, "annie"),
        ({"GENERIC_USER_DISPLAY_NAME_ATTRIBUTE": "nick"}, {"first_name": "Ann"}, "Ann"),
    ],
)  # fmt: skip
def test_what_somebody_is_called(environ: dict[str, str], userinfo: dict[str, Any], name: str) -> None:
    assert person(settings(environ), **userinfo).name == name


def test_claims_have_the_names_that_variables_give_them() -> None:
    named = settings({
        "GENERIC_USER_ID_ATTRIBUTE": "uid", "GENERIC_USER_EMAIL_ATTRIBUTE": "contact.mail", "GENERIC_USER_ROLE_ATTRIBUTE": "app.role",
        "GENERIC_USER_PROVIDER_ATTRIBUTE": "idp", "GENERIC_ROLE_MAPPINGS_GROUP_CLAIM": "memberOf",
        "GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE": "internal_user",
    })  # fmt: skip
    found = person(
        named, uid="u7", contact={"mail": "u7@x"}, app={"role": "internal_user_viewer"}, idp="google", memberOf=["dev"]
    )
    assert found == flow.Person("u7", "u7@x", "s", "internal_user_viewer", ["dev"], "google")
    assert named.default_role == "internal_user"
    assert person(settings(), provider="okta").source == "okta" and person(settings()).source is None


def test_what_goes_to_the_provider_has_the_scope_and_headers_that_variables_give() -> None:
    provider = settings({"GENERIC_SCOPE": "openid groups", "GENERIC_SSO_HEADERS": "X-Tenant=a, X-Other=b=c"}).provider
    assert provider is not None and provider.headers == {"X-Tenant": "a", "X-Other": "b=c"}
    asked = parse_qs(urlsplit(flow.authorization_url(provider, attempt())).query)
    assert asked["scope"] == ["openid groups"]


class Outbound:
    """An identity provider that answers what it is told to."""

    def __init__(self, token: dict[str, Any], userinfo: dict[str, Any]) -> None:
        self._answers = {"/token": token, "/me": userinfo}
        self.asked: list[tuple[str, dict[str, str], bytes | None]] = []

    async def send(self, method: str, url: str, *, headers: dict[str, str], body: bytes | None, **_: Any) -> Answer:
        self.asked.append((url, headers, body))
        return Answer(200, {}, msgspec.json.encode(self._answers[urlsplit(url).path]))


def unsigned(**claims: Any) -> str:
    return ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", msgspec.json.encode(claims), b"x")
    )


@pytest.mark.parametrize(
    ("environ", "access", "role"),
    [
        ({}, {"sub": "s", "role": "proxy_admin"}, None),
        ({"GENERIC_INCLUDE_TOKEN_CLAIMS": "true"}, {"sub": "s", "role": "proxy_admin"}, "proxy_admin"),
        ({"GENERIC_INCLUDE_TOKEN_CLAIMS": "true"}, {"sub": "somebody else", "role": "proxy_admin"}, None),
        ({"GENERIC_INCLUDE_TOKEN_CLAIMS": "true"}, {"sub": "s", "email": "other@x"}, None),
    ],
)
async def test_the_access_tokens_claims_count_where_they_are_asked_for(
    environ: dict[str, str], access: dict[str, Any], role: str | None
) -> None:
    of, begun = settings({**environ, "GENERIC_SSO_HEADERS": "X-Tenant=a"}), attempt()
    assert of.provider is not None
    id_token = unsigned(sub="s", nonce=begun.nonce, aud="gateway", exp=2000)
    idp = Outbound(
        {"id_token": id_token, "access_token": unsigned(**access)}, {"sub": "s", "email": "ann@ours.example"}
    )
    claims, userinfo = await exchange.claims_of(idp, of.provider, begun, "c", 1000)
    found = flow.person(of, of.provider, claims, userinfo)
    assert (found.user_id, found.email, found.role) == ("s", "ann@ours.example", role)
    assert all(headers["X-Tenant"] == "a" for _, headers, _ in idp.asked) and b"client_id=gateway" in (
        idp.asked[0][2] or b""
    )


MANY = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://evil.example/x"}}}
GRAPH = "https://graph.microsoft.com"
PAGE = {
    "value": [
        {"@odata.type": "#microsoft.graph.group", "id": "g1"},
        {"@odata.type": "#microsoft.graph.directoryRole", "id": "r"},
    ]
}
LAST = {"value": [{"@odata.type": "#microsoft.graph.group", "id": "ops"}, {"id": 5}, "x"]}


class Microsoft(Outbound):
    """With groups by the page; None: refused."""

    def __init__(self, token: dict[str, Any], pages: list[dict[str, Any] | None]) -> None:
        super().__init__(token, {"sub": "s", "email": "ann@ours.example"})
        self.pages = pages
        self._answers = {"/t/oauth2/v2.0/token": token, "/oidc/userinfo": self._answers["/me"]}

    async def send(self, method: str, url: str, **more: Any) -> Answer:
        if "/v1.0/" not in url:
            return await super().send(method, url, **more)
        self.asked.append((url, more["headers"], more["body"]))
        page = self.pages.pop(0)
        return Answer(403, {}, b"") if page is None else Answer(200, {}, msgspec.json.encode(page))


class Particular(Outbound):
    """One that takes the client's secret in one way only."""

    def __init__(self, wanted: str, token: dict[str, Any]) -> None:
        super().__init__(token, {"sub": "s"})
        self.wanted = wanted

    async def send(self, method: str, url: str, *, headers: dict[str, str], body: bytes | None, **more: Any) -> Answer:
        answer = await super().send(method, url, headers=headers, body=body, **more)
        basic = headers.get("Authorization", "").removeprefix("Basic ")
        sent = (body or b"").decode() if not basic else base64.b64decode(basic).decode() if "/token" in url else ""
        return answer if url.endswith("/me") or self.wanted in sent else Answer(401, {}, b"{}")


@pytest.mark.parametrize(
    ("secret", "wanted", "tries"),
    [
        ("a b+", "gateway:a%20b%2B", 1),
        ("a b+", "gateway:a b+", 2),
        ("a b+", "client_secret=a+b%2B", 3),
        ("plain", "gateway:plain", 1),
        ("plain", "client_secret=plain", 2),
    ],
)
async def test_the_clients_secret_in_the_way_that_the_provider_takes(secret: str, wanted: str, tries: int) -> None:
    of, begun = settings({"GENERIC_CLIENT_SECRET": secret}), attempt()
    assert of.provider is not None
    id_token = unsigned(sub="s", nonce=begun.nonce, aud="gateway", exp=2000)
    idp = Particular(wanted, {"id_token": id_token, "access_token": "opaque"})
    claims, _ = await exchange.claims_of(idp, of.provider, begun, "c", 1000)
    assert claims["sub"] == "s" and len([url for url, *_ in idp.asked if url.endswith("/token")]) == tries


@pytest.mark.parametrize("said", [MANY, {"hasgroups": True}, {"groups": ["few"]}])
async def test_groups_that_are_too_many_for_the_token_are_asked_for(said: dict[str, Any]) -> None:
    variables = {"MICROSOFT_CLIENT_ID": "m", "MICROSOFT_CLIENT_SECRET": "s", "MICROSOFT_TENANT": "t"}
    of, begun = read({**variables, "GENERIC_ROLE_MAPPINGS_ROLES": '{"proxy_admin": ["ops"]}'}, {}, {}), attempt()
    assert of.provider is not None and "User.Read" in of.provider.scope
    id_token = unsigned(sub="s", oid="o", nonce=begun.nonce, aud="m", exp=2000, **said)
    token_ = {"id_token": id_token, "access_token": "opaque"}
    next_link = f"{GRAPH}/v1.0/me/transitiveMemberOf?$skiptoken=x"
    idp = Microsoft(token_, [{**PAGE, "@odata.nextLink": next_link}, LAST])
    claims, userinfo = await exchange.claims_of(idp, of.provider, begun, "c", 1000)
    found = flow.person(of, of.provider, claims, userinfo)
    if "groups" in said:
        assert (found.groups, len(idp.pages)) == (["few"], 2)
        return
    assert (found.groups, found.role) == (["g1", "ops"], "proxy_admin")
    pages = [(url, headers["Authorization"]) for url, headers, _ in idp.asked if "/v1.0/" in url]
    assert [url for url, _ in pages] == [of.provider.groups_endpoint, next_link]
    assert {bearer for _, bearer in pages} == {"Bearer opaque"}
    for pages_ in ([None], [{"@odata.nextLink": "https://evil.example/v1.0/x"}], [{"@odata.nextLink": next_link}] * 30):
        with pytest.raises(SsoError) as no:
            await exchange.claims_of(Microsoft(token_, list(pages_)), of.provider, begun, "c", 1000)
        assert no.value.status == 502


def test_variables_that_change_nothing_are_named() -> None:
    assert settings().without_effect == {}
    found = settings({"GENERIC_CLIENT_STATE": "always", "GENERIC_CLIENT_USE_PKCE": "false"}).without_effect
    assert set(found) == {"GENERIC_CLIENT_STATE", "GENERIC_CLIENT_USE_PKCE"}


def test_who_does_not() -> None:
    domains = settings({"ALLOWED_EMAIL_DOMAINS": "ours.example, other.example"})
    assert person(domains).email == "ann@ours.example"
    for email in ("ann@evil.example", "ann@notours.example", "ann@ours.example.evil", None, ""):
        with pytest.raises(SsoError) as no:
            person(domains, email=email)
        assert no.value.status == 401
    with pytest.raises(SsoError):
        person(domains, email_verified=False)
    with pytest.raises(SsoError):
        person(settings(), sub="somebody else")
    only_admins = settings(ui_access_mode="admin_only")
    assert person(only_admins, role="proxy_admin").role == "proxy_admin"
    restricted = settings(
        ui_access_mode={"type": "restricted_sso_group", "restricted_sso_group": "ai", "sso_group_jwt_field": "g"}
    )
    assert person(restricted, g=["ai"]).user_id == "ann"
    for of in (only_admins, restricted):
        with pytest.raises(SsoError) as no:
            person(of)
        assert no.value.status == 403


def test_cookies_are_bound_to_https_or_loopback() -> None:
    https = cookies.origin("https://gw.example/", "whatever", "203.0.113.9")
    assert https is not None and https.base == "https://gw.example"
    line = https.set_line(cookies.SESSION, "v", 60)
    assert (
        line.startswith("Set-Cookie: __Host-tollgate_session=v; Path=/; HttpOnly; SameSite=Lax") and "; Secure" in line
    )
    local = cookies.origin(None, "localhost:4000", "127.0.0.1")
    assert local is not None and local.read("a=b; tollgate_session=v", cookies.SESSION) == "v"
    assert local.read("tollgate_session=v; tollgate_session=w", cookies.SESSION) is None
    assert https.read("tollgate_session=v", cookies.SESSION) is None
    for base, host, remote in (
        (None, "gw.example", "203.0.113.9"), (None, "gw.example", "127.0.0.1"), (None, "localhost", "203.0.113.9"),
        ("http://gw.example", "x", "127.0.0.1"), (None, None, "127.0.0.1"), (None, "localhost/@evil", "127.0.0.1"),
    ):  # fmt: skip
        assert cookies.origin(base, host, remote) is None


def test_forms_of_other_pages_are_told_apart() -> None:
    here = cookies.origin("https://gw.example", None, None)
    assert here is not None
    assert cookies.same_origin(here, "https://gw.example", "same-origin") and cookies.same_origin(here, None, None)
    assert not cookies.same_origin(here, "https://evil.example", None)
    assert not cookies.same_origin(here, "https://gw.example", "cross-site")
    assert not cookies.same_origin(here, None, "same-site")
    token_ = cookies.csrf_token("sk-1")
    assert (
        cookies.csrf_holds("sk-1", token_)
        and not cookies.csrf_holds("sk-2", token_)
        and not cookies.csrf_holds("sk-1", "é")
    )
