"""What the holes of the pasted texts are filled with: passwords as people and programs make them,
and credentials as their issuers publish the format.
"""

import base64
import json
import string
import uuid
from collections.abc import Callable
from random import Random

Make = Callable[[Random], str]

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URLSAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"


def drawn(length: int, alphabet: str = ALNUM, before: str = "", after: str = "") -> Make:
    """At least one digit and one letter, where the alphabet has both."""
    both = length >= 6 and any(c.isdigit() for c in alphabet) and any(c.isalpha() for c in alphabet)

    def make(r: Random) -> str:
        out = ""
        while not out or (
            both and (out.isalpha() or not any(c.isalpha() for c in out) or not any(c.isdigit() for c in out))
        ):
            out = "".join(r.choice(alphabet) for _ in range(length))
        return before + out + after

    return make


def _joined(*parts: str | Make) -> Make:
    return lambda r: "".join(part if isinstance(part, str) else part(r) for part in parts)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _jwt(r: Random) -> str:
    head = _base64url(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    body = _base64url(json.dumps({"sub": str(r.randrange(10**9)), "iat": 1_700_000_000 + r.randrange(10**7)}).encode())
    return f"{head}.{body}.{_base64url(r.randbytes(32))}"


NAMES = ("Sommer", "Bailey", "Liverpool", "Dragon", "Welcome", "Madrid", "Papillon", "Kitty", "Autumn", "Phoenix")
NOUNS = ("lantern", "pickle", "harbor", "walnut", "saddle", "comet", "ladder", "velvet", "anchor", "biscuit", "tundra")


def _human(r: Random) -> str:
    name, number, mark = r.choice(NAMES), r.randrange(10, 2030), r.choice("!?#$*.")
    return r.choice(
        (f"{name}{number}{mark}", f"{name}{mark}{number}", f"{name.replace('a', '@').replace('i', '1')}{number}")
    )


def _marked(r: Random) -> str:
    """As `pwgen -sy` makes it, without what a quote, a shell or a URL has to escape."""
    out = [r.choice(ALNUM) for _ in range(11)] + [r.choice("!#%^*+=~") for _ in range(3)] + [r.choice(string.digits)]
    r.shuffle(out)
    return r.choice(string.ascii_letters) + "".join(out) + r.choice(ALNUM)


PASSWORDS: dict[str, Make] = {
    "pw8": drawn(8),
    "pw12": drawn(12),
    "pw16": drawn(16),
    "pw24": drawn(24),
    "pw32": drawn(32),
    "human": _human,
    "marked": _marked,
    "words": lambda r: "-".join(r.sample(NOUNS, 4)),
    "wordsnum": lambda r: "-".join((*r.sample(NOUNS, 3), str(r.randrange(10, 99)))),
    "hex32": drawn(32, HEX),
    "hex40": drawn(40, HEX),
    "hex64": drawn(64, HEX),
    "b64_32": lambda r: base64.b64encode(r.randbytes(32)).decode(),
    "b64_64": lambda r: base64.b64encode(r.randbytes(64)).decode(),
    "url43": lambda r: _base64url(r.randbytes(32)),
    "uuid": lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
    "basic": lambda r: base64.b64encode(f"ann:{drawn(12)(r)}".encode()).decode(),
}

TOKENS: dict[str, Make] = {
    "aws_id": drawn(16, string.ascii_uppercase + "234567", "AKIA"),
    "aws_tmp": drawn(16, string.ascii_uppercase + "234567", "ASIA"),
    "aws_secret": drawn(40, BASE64),
    "aws_session": drawn(320, BASE64, "IQoJb3JpZ2luX2Vj", "=="),
    "openai_old": _joined("sk-", drawn(20), "T3BlbkFJ", drawn(20)),
    "openai": _joined("sk-proj-", drawn(74, URLSAFE), "T3BlbkFJ", drawn(74, URLSAFE)),
    "anthropic": drawn(93, URLSAFE, "sk-ant-api03-", "AA"),
    "openrouter": drawn(64, HEX, "sk-or-v1-"),
    "groq": drawn(52, ALNUM, "gsk_"),
    "xai": drawn(80, ALNUM, "xai-"),
    "perplexity": drawn(48, ALNUM, "pplx-"),
    "replicate": drawn(37, ALNUM, "r8_"),
    "hf": drawn(34, string.ascii_letters, "hf_"),
    "google": drawn(35, URLSAFE, "AIza"),
    "google_secret": drawn(28, URLSAFE, "GOCSPX-"),
    "ya29": drawn(150, URLSAFE, "ya29.a0"),
    "github": drawn(36, ALNUM, "ghp_"),
    "github_fine": _joined("github_pat_", drawn(22), "_", drawn(59)),
    "github_app": drawn(36, ALNUM, "ghs_"),
    "gitlab": drawn(20, URLSAFE, "glpat-"),
    "gitlab_deploy": drawn(20, URLSAFE, "gldt-"),
    "gitlab_runner": drawn(20, URLSAFE, "glrt-"),
    "slack": lambda r: f"xoxb-{r.randrange(10**11, 10**12)}-{r.randrange(10**11, 10**12)}-{drawn(24)(r)}",
    "slack_app": lambda r: f"xapp-1-A{drawn(10, UPPER)(r)}-{r.randrange(10**12, 10**13)}-{drawn(64, HEX)(r)}",
    "stripe": drawn(24, ALNUM, "sk_live_"),
    "stripe_new": drawn(99, ALNUM, "sk_live_51"),
    "stripe_rk": drawn(24, ALNUM, "rk_live_"),
    "stripe_wh": drawn(32, ALNUM, "whsec_"),
    "square": drawn(43, URLSAFE, "sq0csp-"),
    "twilio": drawn(32, HEX, "SK"),
    "sendgrid": _joined("SG.", drawn(22, URLSAFE), ".", drawn(43, URLSAFE)),
    "mailgun": drawn(32, HEX, "key-"),
    "mailchimp": lambda r: f"{drawn(32, HEX)(r)}-us{r.randrange(1, 22)}",
    "npm": drawn(36, ALNUM, "npm_"),
    "pypi": drawn(150, URLSAFE, "pypi-AgEIcHlwaS5vcmc"),
    "shopify": drawn(32, HEX, "shpat_"),
    "do": drawn(64, HEX, "dop_v1_"),
    "databricks": drawn(32, HEX, "dapi"),
    "doppler": drawn(43, ALNUM, "dp.pt."),
    "dynatrace": _joined("dt0c01.", drawn(24, UPPER), ".", drawn(64, UPPER)),
    "linear": drawn(40, ALNUM, "lin_api_"),
    "notion": drawn(46, ALNUM, "ntn_"),
    "postman": _joined("PMAK-", drawn(24, HEX), "-", drawn(34, HEX)),
    "pulumi": drawn(40, HEX, "pul-"),
    "vault": drawn(95, URLSAFE, "hvs.CAES"),
    "tfc": _joined(drawn(14), ".atlasv1.", drawn(67, URLSAFE)),
    "grafana": _joined("glsa_", drawn(32), "_", drawn(8, HEX)),
    "grafana_cloud": drawn(120, BASE64, "glc_eyJvIjoi", "=="),
    "sentry": _joined("sntrys_eyJpYXQiOjE3", drawn(90, BASE64), "=_", drawn(43, BASE64)),
    "newrelic": drawn(27, UPPER, "NRAK-"),
    "datadog": drawn(32, HEX),
    "telegram": lambda r: f"{r.randrange(10**8, 10**10)}:AA{drawn(33, URLSAFE)(r)}",
    "discord_hook": drawn(68, URLSAFE),
    "discord": lambda r: f"M{drawn(23)(r)}.{drawn(6, URLSAFE)(r)}.{drawn(38, URLSAFE)(r)}",
    "figma": lambda r: f"figd_{drawn(40, URLSAFE)(r)}",
    "planetscale": drawn(43, URLSAFE, "pscale_tkn_"),
    "supabase": drawn(40, HEX, "sbp_"),
    "flyio": drawn(90, BASE64, "fm2_"),
    "vercel_blob": drawn(48, ALNUM, "vercel_blob_rw_"),
    "rubygems": drawn(48, HEX, "rubygems_"),
    "clojars": drawn(60, HEX, "CLOJARS_"),
    "age": drawn(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", "AGE-SECRET-KEY-1"),
    "alibaba": drawn(20, ALNUM, "LTAI5t"[:4]),
    "tencent": drawn(32, ALNUM, "AKID"),
    "azure_sas": lambda r: f"{drawn(43, ALNUM)(r)}%3D",
    "azure_storage": lambda r: base64.b64encode(r.randbytes(64)).decode(),
    "azure_ad": _joined(drawn(3), "8Q~", drawn(34, ALNUM + "_~.-")),
    "azure_devops": drawn(52, string.ascii_lowercase + "234567"),
    "artifactory": drawn(69, ALNUM, "AKCp"),
    "adobe": drawn(32, HEX, "p8e-"),
    "easypost": drawn(54, ALNUM, "EZAK"),
    "duffel": drawn(43, URLSAFE, "duffel_live_"),
    "frameio": drawn(64, URLSAFE, "fio-u-"),
    "flutterwave": drawn(32, HEX, "FLWSECK-", "-X"),
    "prefect": drawn(36, LOWER, "pnu_"),
    "readme": drawn(70, LOWER, "rdme_"),
    "scalingo": drawn(48, URLSAFE, "tk-us-"),
    "sendinblue": _joined("xkeysib-", drawn(64, HEX), "-", drawn(16)),
    "shippo": drawn(40, HEX, "shippo_live_"),
    "facebook": drawn(150, ALNUM, "EAACEdEose0cBA"),
    "okta": drawn(40, URLSAFE, "00"),
    "atlassian": drawn(24, ALNUM),
    "atlassian_new": drawn(183, URLSAFE, "ATATT3xFfGF0", "=A1B2C3D4"),
    "confluent": drawn(64, BASE64),
    "jwt": _jwt,
    "docker": drawn(27, URLSAFE, "dckr_pat_"),
    "tailscale": _joined("tskey-auth-k", drawn(10), "CNTRL-", drawn(32)),
    "contentful": drawn(43, URLSAFE, "CFPAT-"),
    "airtable": _joined("pat", drawn(14), ".", drawn(64, HEX)),
    "netlify": drawn(40, ALNUM, "nfp_"),
    "buildkite": drawn(40, HEX, "bkua_"),
    "langsmith": _joined("lsv2_pt_", drawn(32, HEX), "_", drawn(10, HEX)),
    "fernet": lambda r: base64.urlsafe_b64encode(r.randbytes(32)).decode(),
    "wireguard": lambda r: base64.b64encode(r.randbytes(32)).decode(),
    "wp_salt": drawn(64, ALNUM + "!#%^*()-_=+[]{}|~?,.:"),
}

HARMLESS: dict[str, Make] = {
    "uuid": PASSWORDS["uuid"],
    "md5": drawn(32, HEX),
    "sha1": drawn(40, HEX),
    "sha256": drawn(64, HEX),
    "sha512": drawn(128, HEX),
    "sri": lambda r: "sha512-" + base64.b64encode(r.randbytes(64)).decode(),
    "h1": lambda r: "h1:" + base64.b64encode(r.randbytes(32)).decode(),
    "short": drawn(7, HEX),
    "b64": lambda r: base64.b64encode(r.randbytes(600)).decode(),
    "b64line": lambda r: base64.b64encode(r.randbytes(48)).decode(),
    "png": lambda r: "iVBORw0KGgoAAAANSUhEUgAA" + base64.b64encode(r.randbytes(900)).decode(),
    "order": lambda r: f"{r.choice('ABCDEFG')}{r.randrange(10**3)}-{r.randrange(10**7)}-{r.randrange(10**7)}",
    "digits10": drawn(10, string.digits),
    "digits16": lambda r: str(r.randrange(10**15, 10**16)),
    "phone": lambda r: (
        f"+{r.randrange(1, 99)} {r.randrange(100, 999)} {r.randrange(100, 999)} {r.randrange(1000, 9999)}"
    ),
    "iban": lambda r: f"DE{r.randrange(10, 99)}{r.randrange(10**17, 10**18)}",
    "id11": drawn(11, URLSAFE),
    "id21": drawn(21, URLSAFE),
    "id25": drawn(25, LOWER),
    "upper10": drawn(10, UPPER),
    "ulid": drawn(26, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"),
    "objid": drawn(24, HEX),
    "trace": drawn(32, HEX),
    "span": drawn(16, HEX),
    "n": lambda r: str(r.randrange(2, 999)),
    "ver": lambda r: f"{r.randrange(20)}.{r.randrange(30)}.{r.randrange(40)}",
    "ts": lambda r: (
        f"2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}T{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}Z"
    ),
}
