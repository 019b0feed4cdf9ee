"""AWS Signature Version 4: the headers that prove who sends a request. Pure; the clock is an
argument.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import functools
import hashlib
import hmac
import time
from urllib.parse import quote

import msgspec

from shared.secrets.value import Secret


class Credentials(msgspec.Struct, frozen=True):
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


def sign(
    method: str, host: str, path: str, body: bytes, *, region: str, service: str, credentials: Credentials, now_s: int
) -> dict[str, str]:
    """Headers to add. `path` is as sent (percent-encoded), `host` as in the Host header; there is
    no query.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    day = stamp[:8]
    signed = {"host": host, "x-amz-date": stamp}
    if credentials.session_token is not None:
        signed["x-amz-security-token"] = credentials.session_token.reveal()
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    # Every service but S3 has the path encoded once more.
    request = f"{method}\n{quote(path, safe='/-_.~')}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = _key(credentials.secret_access_key.reveal(), day, region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    del signed["host"]
    return signed


@functools.lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """The same for a day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
