"""An identity provider: keys of every kind, a JWKS that can change, be slow and be away."""

import asyncio
import base64
import time
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from shared.identity.settings import JwtAuth, read
from shared.identity.verifier import Verifier
from shared.ids import digest_key
from tests.support.ports import free_port

RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
KEYS: dict[str, Any] = {
    "rsa": RSA_KEY,
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHM_KEYS = {
    "RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa", "ES256": "p256", "ES384": "p384",
    "ES512": "p521", "EdDSA": "ed",
}  # fmt: skip
_JWK = {"rsa": jwt.algorithms.RSAAlgorithm, "ed": jwt.algorithms.OKPAlgorithm}


def jwk(name: str, key: Any, **more: Any) -> dict[str, Any]:
    maker: Any = _JWK.get(name, jwt.algorithms.ECAlgorithm)
    return {**maker.to_jwk(key.public_key(), as_dict=True), "kid": name, **more}


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"sub": "u1", "iss": "https://idp.example", "aud": "gateway", "iat": now, "exp": now + 600, **more}
    return {name: value for name, value in found.items() if value is not None}


def sign(said: dict[str, Any], algorithm: str = "RS256", key: Any = None, **headers: Any) -> str:
    name = ALGORITHM_KEYS[algorithm]
    named = {"kid": name, **headers}
    return jwt.encode(said, key or KEYS[name], algorithm, headers={k: v for k, v in named.items() if v is not None})


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider:
    def __init__(self) -> None:
        self.port = free_port()
        self.keys = [jwk(name, key) for name, key in KEYS.items()]
        self.fetched = 0
        self.status = 200
        self.delay_s = 0.0
        self.userinfo: Any = {}
        """What /userinfo answers: an object, or a status."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks"

    @property
    def discovery(self) -> str:
        return f"http://127.0.0.1:{self.port}/.well-known/openid-configuration"

    def routes(self, app: web.Application) -> None:
        """What else it answers."""

    async def serve(self) -> web.AppRunner:
        async def jwks(_: web.Request) -> web.Response:
            self.fetched += 1
            await asyncio.sleep(self.delay_s)
            return web.json_response({"keys": self.keys}, status=self.status)

        async def discovery(_: web.Request) -> web.Response:
            return web.json_response({"issuer": "https://idp.example", "jwks_uri": self.url})

        app = web.Application()

        async def userinfo(request: web.Request) -> web.Response:
            assert request.headers["Authorization"].count(".") == 2
            status = self.userinfo if isinstance(self.userinfo, int) else 200
            return web.json_response({} if status != 200 else self.userinfo, status=status)

        app.router.add_get("/jwks", jwks)
        if type(self) is Provider:
            app.router.add_get("/userinfo", userinfo)
        self.routes(app)
        app.router.add_get("/.well-known/openid-configuration", discovery)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        return runner


def auth(url: str, audience: str = "gateway", issuer: str = "https://idp.example", **rules: Any) -> JwtAuth:
    environ = {"JWT_PUBLIC_KEY_URL": url, "JWT_AUDIENCE": audience, "JWT_ISSUER": issuer}
    found = read({"enable_jwt_auth": True, "litellm_jwtauth": rules}, environ)
    assert found is not None
    return found


async def verified(verifier: Verifier, token: str) -> dict[str, Any]:
    return await verifier.claims(token, digest_key(token))
