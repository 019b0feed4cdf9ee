"""Values the templates are filled with: credentials (``CREDENTIALS``) and what only looks like one
(``HARMLESS``).
"""

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from functools import partial

Make = Callable[[random.Random], str]

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM, HEX, BASE64 = string.ascii_letters + DIGITS, "0123456789abcdef", string.ascii_letters + DIGITS + "+/"
URLSAFE = ALNUM + "-_"
LOWNUM, UPNUM = LOWER + DIGITS, UPPER + DIGITS
_WORDS = (
    "amber anchor basket bridge candle canyon copper cotton desert dragon ember falcon forest garden glacier hammer harbor"
    " island jungle kettle ladder lantern marble meadow mirror needle ocean orchard pepper planet quartz rabbit ribbon"
    " river saddle salmon silver summer thunder timber tunnel valley velvet walnut willow window winter yellow zephyr"
)
WORDS = _WORDS.split()


def drawn(alphabet: str, length: int, rng: random.Random) -> str:
    """Some characters, with a digit and a letter among them as every real random string of that
    length has.
    """
    while True:
        value = "".join(rng.choices(alphabet, k=length))
        mixed = any(c in DIGITS for c in value) or not set(DIGITS) & set(alphabet)
        if mixed and (value[0].isalnum() or not alphabet[0].isalnum()) and value[-1].isalnum():
            return value


def of(alphabet: str, length: int, before: str = "", after: str = "") -> Make:
    return lambda rng: before + drawn(alphabet, length, rng) + after


def password(rng: random.Random) -> str:
    word, other = rng.sample(WORDS, 2)
    number, sign = rng.randrange(10, 9999), rng.choice("!#$%*.-_")
    return rng.choice(
        [
            f"{word.title()}{sign}{other.title()}{number}",
            f"{word.title()}{number}{sign}",
            f"{word[:4]}{number}{sign}{other.upper()[:4]}",
            f"{word.title()[:6]}-{other.title()}-{number}",
            word.replace("a", "4").replace("e", "3").replace("o", "0") + str(number) + sign,
        ]
    )


def plain_password(rng: random.Random) -> str:
    """Without a sign, as in a URL, a shell word or a DSN."""
    word, other = rng.sample(WORDS, 2)
    return rng.choice([f"{word}{other.title()}{rng.randrange(10, 999)}", drawn(ALNUM, rng.randrange(10, 22), rng)])


def passphrase(rng: random.Random) -> str:
    return "-".join(rng.sample(WORDS, 4))


def base64_of(size: int) -> Make:
    return lambda rng: base64.b64encode(rng.randbytes(size)).decode()


def basic(rng: random.Random) -> str:
    return base64.b64encode(f"{rng.choice(WORDS)}:{password(rng)}".encode()).decode()


def encoded(rng: random.Random) -> str:
    """A password as a Kubernetes secret has it."""
    return base64.b64encode(password(rng).encode()).decode()


def unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwt(rng: random.Random) -> str:
    head = unpadded(json.dumps({"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}).encode())
    body = unpadded(json.dumps({"sub": drawn(DIGITS, 8, rng), "iat": rng.randrange(10**9, 2 * 10**9)}).encode())
    return f"{head}.{body}.{unpadded(rng.randbytes(32))}"


def guid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def joined(*parts: str | Make) -> Make:
    return lambda rng: "".join(part if isinstance(part, str) else part(rng) for part in parts)


CREDENTIALS: dict[str, Make] = {
    "password": password,
    "plain": plain_password,
    "phrase": passphrase,
    "basic": basic,
    "encoded": encoded,
    "jwt": jwt,
    "guid": guid,
    "r20": of(ALNUM, 20),
    "r24": of(ALNUM, 24),
    "r32": of(ALNUM, 32),
    "r40": of(ALNUM, 40),
    "r64": of(ALNUM, 64),
    "u43": of(URLSAFE, 43),
    "l32": of(LOWNUM, 32),
    "h32": of(HEX, 32),
    "h40": of(HEX, 40),
    "h64": of(HEX, 64),
    "b64": base64_of(32),
    "b48": base64_of(48),
    "bearer": of(URLSAFE, 54),
    "aws_id": of(UPPER + "234567", 16, "AKIA"),
    "aws_key": of(BASE64, 40),
    "azure_key": base64_of(64),
    "github": of(ALNUM, 36, "ghp_"),
    "github_new": joined("github_pat_", of(ALNUM, 22), "_", of(ALNUM, 59)),
    "gitlab": of(URLSAFE, 20, "glpat-"),
    "slack": joined("xoxb-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(ALNUM, 24)),
    "stripe": of(ALNUM, 24, "sk_live_"),
    "openai": of(ALNUM, 48, "sk-"),
    "openai_project": of(URLSAFE, 74, "sk-proj-"),
    "anthropic": joined("sk-ant-api03-", of(URLSAFE, 93), "AA"),
    "google": of(URLSAFE, 35, "AIza"),
    "huggingface": of(string.ascii_letters, 34, "hf_"),
    "npm": of(ALNUM, 36, "npm_"),
    "pypi": of(URLSAFE, 120, "pypi-AgEIcHlwaS5vcmc"),
    "sendgrid": joined("SG.", of(URLSAFE, 22), ".", of(URLSAFE, 43)),
    "twilio": of(HEX, 32, "SK"),
    "vault": of(URLSAFE, 92, "hvs."),
    "telegram": joined(of(DIGITS, 10), ":AA", of(URLSAFE, 33)),
    "pin": of(DIGITS, 6),
}

PREFIXED: dict[str, Make] = {
    "databricks": of(HEX, 32, "dapi"),
    "digitalocean": of(HEX, 64, "dop_v1_"),
    "digitalocean oauth": of(HEX, 64, "doo_v1_"),
    "shopify": of(HEX, 32, "shpat_"),
    "terraform cloud": joined(of(ALNUM, 14), ".atlasv1.", of(URLSAFE, 67)),
    "grafana cloud": joined("glc_", of(BASE64, 60)),
    "grafana service account": joined("glsa_", of(ALNUM, 32), "_", of(HEX, 8)),
    "planetscale": of(URLSAFE, 43, "pscale_tkn_"),
    "planetscale password": of(URLSAFE, 43, "pscale_pw_"),
    "doppler": of(ALNUM, 43, "dp.pt."),
    "duffel": of(URLSAFE, 43, "duffel_live_"),
    "dynatrace": joined("dt0c01.", of(UPNUM, 24), ".", of(UPNUM, 64)),
    "easypost": of(ALNUM, 54, "EZAK"),
    "flutterwave": of("abcdef0123456789", 32, "FLWSECK_TEST-", "-X"),
    "frame.io": of(URLSAFE, 64, "fio-u-"),
    "linear": of(ALNUM, 40, "lin_api_"),
    "postman": joined("PMAK-", of(HEX, 24), "-", of(HEX, 34)),
    "prefect": of(LOWNUM, 36, "pnu_"),
    "pulumi": of(HEX, 40, "pul-"),
    "readme": of(LOWNUM, 70, "rdme_"),
    "rubygems": of(HEX, 48, "rubygems_"),
    "scalingo": of(ALNUM, 48, "tk-us-"),
    "sendinblue": joined("xkeysib-", of(HEX, 64), "-", of(ALNUM, 16)),
    "shippo": of(HEX, 40, "shippo_live_"),
    "alibaba": of(ALNUM, 20, "LTAI"),
    "clojars": of(LOWNUM, 60, "CLOJARS_"),
    "age": of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, "AGE-SECRET-KEY-1"),
    "adobe": of(HEX, 32, "p8e-"),
    "gitlab trigger": of(HEX, 40, "glptt-"),
    "new relic": of(UPNUM, 27, "NRAK-"),
    "sentry user": of(HEX, 64, "sntryu_"),
    "mailchimp": of(HEX, 32, "", "-us12"),
    "mailgun": of(HEX, 32, "key-"),
    "mapbox": joined("sk.eyJ1Ijoi", of(LOWNUM, 60), ".", of(URLSAFE, 22)),
    "artifactory": of(ALNUM, 69, "AKCp8"),
    "square": of(URLSAFE, 43, "sq0csp-"),
    "airtable": joined("pat", of(ALNUM, 14), ".", of(HEX, 64)),
    "discord": joined("MTA", of(ALNUM, 21), ".G", of(URLSAFE, 5), ".", of(URLSAFE, 38)),
    "hubspot": joined("pat-na1-", guid),
    "figma": of(URLSAFE, 40, "figd_"),
    "asana": joined("1/", of(DIGITS, 16), ":", of(HEX, 32)),
    "notion": of(ALNUM, 43, "secret_"),
    "slack app": joined("xapp-1-", of(UPNUM, 11), "-", of(DIGITS, 13), "-", of(HEX, 64)),
    "docker": of(URLSAFE, 27, "dckr_pat_"),
    "atlassian": joined("ATATT3xFfGF0", of(URLSAFE, 171), "=", of(HEX.upper(), 8)),
    "groq": of(ALNUM, 52, "gsk_"),
    "perplexity": of(ALNUM, 48, "pplx-"),
    "replicate": of(ALNUM, 37, "r8_"),
    "xai": of(ALNUM, 80, "xai-"),
    "aws session": of(UPPER + "234567", 16, "ASIA"),
}
"""Known by themselves wherever they stand."""

BY_VENDOR: dict[str, tuple[str, Make]] = {
    "adafruit": ("ADAFRUIT_IO_KEY", of(LOWNUM, 32)),
    "algolia": ("algolia_admin_key", of(LOWNUM, 32)),
    "authress": (
        "AUTHRESS_ACCESS_KEY",
        joined("sc_", of(LOWNUM, 12), ".", of(LOWNUM, 5), ".acc-", of(LOWNUM, 12), ".", of(URLSAFE, 40)),
    ),
    "bittrex": ("bittrex_secret_key", of(LOWNUM, 32)),
    "bitbucket": ("BITBUCKET_CLIENT_SECRET", of(URLSAFE, 64)),
    "beamer": ("beamer_api_key", of(URLSAFE, 44, "b_")),
    "codecov": ("CODECOV_TOKEN", guid),
    "coinbase": ("coinbase_access_token", of(URLSAFE, 64)),
    "confluent": ("CONFLUENT_CLOUD_API_SECRET", of(ALNUM, 64)),
    "contentful": ("contentful_delivery_token", of(URLSAFE, 43)),
    "datadog": ("DD_APP_KEY", of(HEX, 40)),
    "defined": ("defined_networking_token", joined("dnkey-", of(URLSAFE, 26), "-", of(URLSAFE, 52))),
    "drone": ("DRONE_ACCESS_TOKEN", of(LOWNUM, 32)),
    "dropbox": ("dropbox_app_secret", of(LOWNUM, 15)),
    "etsy": ("ETSY_KEYSTRING_SECRET", of(LOWNUM, 24)),
    "facebook": ("facebook_app_secret", of(HEX, 32)),
    "fastly": ("FASTLY_API_TOKEN", of(URLSAFE, 32)),
    "finicity": ("finicity_app_secret", of(LOWNUM, 20)),
    "finnhub": ("FINNHUB_API_KEY", of(LOWNUM, 20)),
    "flickr": ("flickr_secret", of(HEX, 16)),
    "freshbooks": ("freshbooks_client_secret", of(HEX, 64)),
    "gitter": ("GITTER_TOKEN", of(HEX, 40)),
    "gocardless": ("gocardless_access_token", of(URLSAFE, 40, "live_")),
    "heroku": ("HEROKU_API_KEY", guid),
    "intercom": ("intercom_access_token", of(BASE64, 59, "", "=")),
    "jfrog": ("JFROG_IDENTITY_TOKEN", of(LOWNUM, 73)),
    "kraken": ("kraken_api_secret", base64_of(64)),
    "kucoin": ("KUCOIN_API_SECRET", guid),
    "launchdarkly": ("LAUNCHDARKLY_SDK_KEY", joined("sdk-", guid)),
    "linkedin": ("linkedin_client_secret", of(ALNUM, 16)),
    "lob": ("LOB_API_KEY", of(HEX, 35, "live_")),
    "mattermost": ("mattermost_bot_token", of(LOWNUM, 26)),
    "messagebird": ("MESSAGEBIRD_ACCESS_KEY", of(ALNUM, 25)),
    "netlify": ("NETLIFY_AUTH_TOKEN", of(URLSAFE, 43)),
    "nytimes": ("nytimes_api_secret", of(ALNUM, 16)),
    "okta": ("OKTA_API_TOKEN", of(URLSAFE, 40, "00")),
    "rapidapi": ("X-RapidAPI-Key", of(ALNUM, 50)),
    "sendbird": ("sendbird_api_token", of(HEX, 40)),
    "snyk": ("SNYK_TOKEN", guid),
    "squarespace": ("squarespace_api_key", guid),
    "sumologic": ("SUMO_ACCESS_KEY", of(ALNUM, 64)),
    "travis": ("TRAVIS_API_TOKEN", of(ALNUM, 22)),
    "twitch": ("twitch_client_secret", of(LOWNUM, 30)),
    "twitter": ("TWITTER_ACCESS_TOKEN_SECRET", of(ALNUM, 45)),
    "typeform": ("typeform_pat", of(URLSAFE, 59, "tfp_")),
    "yandex": ("YANDEX_API_KEY", of(URLSAFE, 38, "AQVN")),
    "zendesk": ("zendesk_secret_key", of(LOWNUM, 40)),
    "softlayer": ("SOFTLAYER_API_KEY", of(LOWNUM, 64)),
    "cloudant": ("cloudant_password", of(HEX, 64)),
    "ibm cos": ("cos_hmac_secret_access_key", of(HEX, 48)),
    "ibm iam": ("IBM_CLOUD_API_KEY", of(URLSAFE, 44)),
}
"""Known by the name before them."""

HARMLESS: dict[str, Make] = {
    "id": guid,
    "sha1": of(HEX, 40),
    "sha256": of(HEX, 64),
    "md5": of(HEX, 32),
    "short": of(HEX, 7),
    "span": of(HEX, 16),
    "sri": joined("sha512-", base64_of(64)),
    "sri256": joined("sha256-", base64_of(32)),
    "h1": joined("h1:", base64_of(32)),
    "image": base64_of(180),
    "number": lambda rng: str(rng.randrange(10, 9999)),
    "day": lambda rng: f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
    "word": lambda rng: rng.choice(WORDS),
    "name": lambda rng: rng.choice(["anna", "boris", "chen", "dora", "emeka", "farida", "goran"]),
    "host": lambda rng: f"{rng.choice(WORDS)}.example.com",
    "version": lambda rng: f"{rng.randrange(9)}.{rng.randrange(30)}.{rng.randrange(20)}",
    "ulid": of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24, "01"),
    "etag": of(HEX, 32),
    "class": lambda rng: (
        f"{rng.choice(WORDS).title()}{rng.choice(WORDS).title()}{rng.choice(['Factory', 'Provider', 'Handler'])}"
    ),
}


def pem(rng: random.Random, label: str = "RSA PRIVATE KEY", lines: int = 12) -> str:
    body = "\n".join(base64.b64encode(rng.randbytes(48)).decode() for _ in range(lines))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


CREDENTIALS["pem"] = pem
CREDENTIALS["pem_pkcs8"] = partial(pem, label="PRIVATE KEY")
CREDENTIALS["pem_ssh"] = partial(pem, label="OPENSSH PRIVATE KEY", lines=8)
HARMLESS["certificate"] = partial(pem, label="CERTIFICATE")
HARMLESS["public_key"] = partial(pem, label="PUBLIC KEY", lines=6)
