"""What AWS does with a signature (Version 4), written from its documentation alone: shares nothing
with the code that signs, nor with botocore.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

moto takes every signature; `Checking` stands before it and takes the right ones only.
"""

import datetime
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Iterable, Mapping

import aiohttp
from aiohttp import web

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[\w]+)/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request,"
    r" ?SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
SKEW = datetime.timedelta(minutes=15)


def why_not(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, secrets: Mapping[str, str],
    now: datetime.datetime, *, region: str, service: str, tokens: Mapping[str, str] | None = None,
) -> str | None:  # fmt: skip
    """None: the signature is right. Else what is wrong with the request.

    Args:
        target: as on the request line.
        headers: as they came, in their order.
        secrets: by access key.
        tokens: by access key, of those that come with a session token.
    """
    sent: dict[str, list[str]] = {}
    for name, value in headers:
        sent.setdefault(name.lower(), []).append(" ".join(value.split()))
    found = _AUTHORIZATION.fullmatch(",".join(sent.get("authorization", [])))
    if found is None:
        return "no authorization of Version 4"
    names = found["names"].split(";")
    if names != sorted(set(names)):
        return "the signed headers aren't in order"
    must = {"host", *(name for name in sent if name.startswith("x-amz-"))}
    if not must <= set(names) or not set(names) <= sent.keys():
        return f"signed are {names}, there are {sorted(must)}"
    stamp = ",".join(sent.get("x-amz-date", []))
    try:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        return "no date"
    if abs(at - now) > SKEW or found["day"] != stamp[:8]:
        return "of another time"
    if (found["region"], found["service"]) != (region, service):
        return f"for {found['service']} in {found['region']}"
    if found["id"] not in secrets:
        return "an unknown access key"
    if (tokens or {}).get(found["id"]) != (sent["x-amz-security-token"][0] if "x-amz-security-token" in sent else None):
        return "another session token"
    digest = hashlib.sha256(body).hexdigest()
    if sent.get("x-amz-content-sha256", [digest]) != [digest]:
        return "another body"
    path, _, query = target.partition("?")
    canonical = "\n".join(
        (
            method,
            _path(path, service),
            _query(query),
            *(f"{name}:{','.join(sent[name])}" for name in names),
            "",
            found["names"],
            digest,
        )
    )
    scope = f"{found['day']}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = ("AWS4" + secrets[found["id"]]).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    right = hmac.digest(key, text.encode(), "sha256").hex()
    return None if hmac.compare_digest(right, found["signature"]) else "another signature"


def _encoded(raw: bytes, keep: bytes = b"") -> str:
    return "".join(chr(byte) if byte in _UNRESERVED or byte in keep else f"%{byte:02X}" for byte in raw)


def _path(path: str, service: str) -> str:
    """As it was sent, encoded once more (S3: not), without what stands for nothing in it."""
    raw = urllib.parse.unquote_to_bytes(path) if service == "s3" else path.encode()
    if service != "s3":
        parts: list[bytes] = []
        for part in raw.split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
        raw = b"/" + b"/".join(parts) + (b"/" if parts and raw.endswith(b"/") else b"")
    return _encoded(raw or b"/", b"/")


def _query(query: str) -> str:
    pairs = (part.partition("=")[::2] for part in query.split("&") if part)
    encoded = sorted(tuple(_encoded(urllib.parse.unquote_to_bytes(each)) for each in pair) for pair in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


class Checking:
    """An address before moto's: what isn't signed as it should be gets AWS's refusal, and never
    reaches moto. It knows what STS hands out.
    """

    def __init__(self, behind: str, secrets: Mapping[str, str], region: str) -> None:
        self._behind = behind
        self._region = region
        self.secrets = dict(secrets)
        self.tokens: dict[str, str] = {}
        self.services: list[str] = []
        """Of the requests whose signature was right."""
        self.refused: list[str] = []

    async def __aenter__(self) -> "Checking":
        self._client = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._pass)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        said = re.search(r"/([a-z0-9-]+)/aws4_request", request.headers.get("authorization", ""))
        service = said[1] if said else ""
        now = datetime.datetime.now(datetime.UTC)
        wrong = why_not(
            request.method, request.raw_path, headers, body, self.secrets, now,
            region=self._region, service=service, tokens=self.tokens,
        )  # fmt: skip
        if wrong is not None:
            self.refused.append(wrong)
            answer = {"__type": "InvalidSignatureException", "message": wrong}
            return web.json_response(answer, status=403, headers={"x-amzn-errortype": "InvalidSignatureException"})
        self.services.append(service)
        async with self._client.request(
            request.method, self._behind + request.raw_path, data=body, headers=headers, allow_redirects=False
        ) as answered:
            text = await answered.read()
            self._learn(text.decode("utf-8", "replace"))
            kept = {
                name: value
                for name, value in answered.headers.items()
                if name.lower().startswith(("content-type", "x-amz"))
            }
            return web.Response(status=answered.status, body=text, headers=kept)

    def _learn(self, text: str) -> None:
        found = [re.search(f"<{name}>([^<]+)<", text) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        if all(found):
            key, secret, token = (each[1] for each in found if each is not None)
            self.secrets[key], self.tokens[key] = secret, token
