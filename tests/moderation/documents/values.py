"""What the holes of the documents are filled with: credentials as their makers document them, and
what looks like one and isn't. Each is a function of a random source.
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
URL = ALNUM + "-_"
B64 = ALNUM + "+/"


def of(length: int, alphabet: str = ALNUM, before: str = "", after: str = "") -> Make:
    return lambda r: before + "".join(r.choice(alphabet) for _ in range(length)) + after


def _mixed(length: int) -> Make:
    """At least one letter of each case and a digit, as a generator of passwords gives it."""

    def make(r: Random) -> str:
        out = [r.choice(string.ascii_lowercase), r.choice(string.ascii_uppercase), r.choice(string.digits)]
        out += [r.choice(ALNUM) for _ in range(length - 3)]
        r.shuffle(out)
        return "".join(out)

    return make


WORDS = (
    "otter",
    "maple",
    "copper",
    "lantern",
    "harbor",
    "violet",
    "tundra",
    "falcon",
    "meadow",
    "cobalt",
    "pepper",
    "glacier",
)


def _human(r: Random) -> str:
    """As people make them."""
    a, b = r.sample(WORDS, 2)
    return r.choice(
        [
            f"{a.title()}{r.randrange(1970, 2026)}!",
            f"{a.title()}-{b.title()}-{r.randrange(10, 99)}",
            f"{a[:4]}{r.choice('@#%')}{b.title()}{r.randrange(100, 999)}",
            f"{a.title().replace('e', '3').replace('o', '0').replace('a', '@')}_{r.randrange(10, 99)}{b[:3]}",
            f"{r.randrange(10, 99)}{b.title()}{r.choice('!*?')}{a.upper()[:3]}",
        ]
    )


def _symbols(r: Random) -> str:
    core = _mixed(14)(r)
    for _ in range(3):
        at = r.randrange(1, len(core) - 1)
        core = core[:at] + r.choice("!#%*^_-+.~") + core[at:]
    return core


def _segment(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def _jwt(r: Random) -> str:
    head = {"alg": r.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}
    body = {"sub": str(r.randrange(10**9)), "iat": r.randrange(10**9), "scope": "read write"}
    return ".".join([_segment(head), _segment(body), of(43, URL)(r)])


def _uuid(r: Random) -> str:
    return str(uuid.UUID(int=r.getrandbits(128), version=4))


def _base64(length: int) -> Make:
    return lambda r: base64.b64encode(r.randbytes(length)).decode()


def _pair(r: Random) -> str:
    """What HTTP's Basic authentication sends."""
    return base64.b64encode(f"svc-{r.choice(WORDS)}:{_mixed(18)(r)}".encode()).decode()


def _digits(length: int) -> Make:
    return lambda r: str(r.randrange(1, 10)) + "".join(r.choice(string.digits) for _ in range(length - 1))


def _pem(r: Random) -> str:
    return "\n".join(_base64(48)(r) for _ in range(r.randrange(6, 14)))


def joined(*makes: Make | str) -> Make:
    return lambda r: "".join(make if isinstance(make, str) else make(r) for make in makes)


CREDENTIALS: dict[str, Make] = {
    "human": _human,
    "pw": _symbols,
    "gen": _mixed(20),
    "gen16": _mixed(16),
    "gen12": _mixed(12),
    "gen40": _mixed(40),
    "lower": of(24, LOWER),
    "hex32": of(32, HEX),
    "hex40": of(40, HEX),
    "hex64": of(64, HEX),
    "url43": of(43, URL),
    "b64": _base64(32),
    "b64long": _base64(66),
    "uuid": _uuid,
    "jwt": _jwt,
    "basic": _pair,
    "pem": _pem,
    "awssecret": of(40, B64),
    "awsid": of(16, string.ascii_uppercase + "234567", "AKIA"),
    "base32": of(32, string.ascii_uppercase + "234567"),
    "azurekey": joined(of(86, B64), "=="),
    "hex8x": of(8, HEX),
    "hex48x": of(48, HEX),
    "hex32u": of(32, "0123456789ABCDEF"),
    "gen24x": _mixed(24),
    "gen27x": _mixed(27),
    "gen32x": _mixed(32),
    "url32x": of(32, URL),
    "lower30x": of(30, LOWER),
    "upper34x": of(34, UPPER),
    "rec": lambda r: "-".join(of(5, LOWER)(r) for _ in range(2)),
    "lic": lambda r: "-".join(of(5, UPPER)(r) for _ in range(5)),
    "sigx": lambda r: _base64(32)(r).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "wgkey": joined(of(42, B64), of(1, "AEIMQUYcgkosw048"), "="),
}
"""By the name of the hole."""

TOKENS: dict[str, Make] = {
    "anthropic": joined("sk-ant-api03-", of(93, URL), "AA"),
    "anthropic_admin": joined("sk-ant-admin01-", of(93, URL), "AA"),
    "openai_project": joined("sk-proj-", of(74, URL), "T3BlbkFJ", of(74, URL)),
    "openai_service": joined("sk-svcacct-", of(58, URL), "T3BlbkFJ", of(58, URL)),
    "openrouter": of(64, HEX, "sk-or-v1-"),
    "groq": of(52, ALNUM, "gsk_"),
    "xai": of(80, ALNUM, "xai-"),
    "perplexity": of(48, ALNUM, "pplx-"),
    "replicate": of(37, ALNUM, "r8_"),
    "huggingface": of(34, string.ascii_letters, "hf_"),
    "pinecone": joined("pcsk_", of(6), "_", of(63)),
    "langsmith": joined("lsv2_pt_", of(32, HEX), "_", of(10, HEX)),
    "langfuse": joined("sk-lf-", _uuid),
    "tavily": of(32, ALNUM, "tvly-dev-"),
    "fireworks": of(24, ALNUM, "fw_"),
    "nvidia": of(64, URL, "nvapi-"),
    "elevenlabs": of(48, HEX, "sk_"),
    "cerebras": of(48, LOWER, "csk-"),
    "voyage": of(43, URL, "pa-"),
    "aws_session": joined("IQoJb3JpZ2luX2Vj", of(200, B64)),
    "bedrock_key": joined("ABSK", of(128, B64)),
    "github_classic": of(36, ALNUM, "ghp_"),
    "github_fine": joined("github_pat_", of(22), "_", of(59)),
    "github_app": of(36, ALNUM, "ghs_"),
    "gitlab_pat": of(20, URL, "glpat-"),
    "gitlab_runner": of(20, URL, "glrt-"),
    "gitlab_deploy": of(20, URL, "gldt-"),
    "gitlab_job": joined("glcbt-64_", of(20, URL)),
    "slack_bot": joined("xoxb-", _digits(12), "-", _digits(12), "-", of(24)),
    "slack_user": joined("xoxp-", _digits(12), "-", _digits(12), "-", _digits(12), "-", of(32, HEX)),
    "slack_app": joined("xapp-1-A", of(10, UPPER), "-", _digits(13), "-", of(64, HEX)),
    "stripe_secret": of(24, ALNUM, "sk_live_"),
    "stripe_restricted": of(99, ALNUM, "rk_live_51"),
    "stripe_webhook": of(32, ALNUM, "whsec_"),
    "npm": of(36, ALNUM, "npm_"),
    "pypi": of(160, URL, "pypi-AgEIcHlwaS5vcmc"),
    "docker": of(27, URL, "dckr_pat_"),
    "terraform": joined(of(14), ".atlasv1.", of(67)),
    "vault": of(92, URL, "hvs.CAES"),
    "databricks": of(32, HEX, "dapi"),
    "supabase": of(40, HEX, "sbp_"),
    "supabase_secret": joined("sb_secret_", of(22, URL), "_", of(8, URL)),
    "netlify": of(36, ALNUM, "nfp_"),
    "cloudflare_ca": joined("v1.0-", of(24, HEX), "-", of(146, HEX)),
    "fly": joined("FlyV1 fm2_", of(120, B64)),
    "render": of(32, ALNUM, "rnd_"),
    "notion": of(46, ALNUM, "ntn_"),
    "airtable": joined("pat", of(14), ".", of(64, HEX)),
    "figma": of(40, URL, "figd_"),
    "linear": of(40, ALNUM, "lin_api_"),
    "atlassian": joined("ATATT3xFfGF0", of(171, URL), "=", of(8, "0123456789ABCDEF")),
    "bitbucket": of(32, ALNUM, "ATBB"),
    "sentry_user": of(64, HEX, "sntryu_"),
    "newrelic": of(27, UPPER, "NRAK-"),
    "honeycomb": joined("hcaik_01", of(56, LOWER)),
    "posthog": of(43, ALNUM, "phx_"),
    "segment": of(64, ALNUM, "sgp_"),
    "grafana_sa": joined("glsa_", of(32), "_", of(8, HEX)),
    "grafana_cloud": joined("glc_", _base64(60)),
    "telegram": joined(_digits(10), ":AA", of(33, URL)),
    "discord": joined("MT", of(22), ".G", of(5, URL), ".", of(38, URL)),
    "twilio_key": of(32, HEX, "SK"),
    "sendgrid": joined("SG.", of(22, URL), ".", of(43, URL)),
    "mailgun": of(32, HEX, "key-"),
    "mailchimp": joined(of(32, HEX), "-us", _digits(2)),
    "resend": joined("re_", of(8), "_", of(24)),
    "brevo": joined("xkeysib-", of(64, HEX), "-", of(16)),
    "shopify": of(32, HEX, "shpat_"),
    "square": of(60, URL, "EAAA"),
    "square_secret": of(43, URL, "sq0csp-"),
    "braintree": joined("access_token$production$", of(16, LOWER), "$", of(32, HEX)),
    "plaid": joined("access-production-", _uuid),
    "flutterwave": joined("FLWSECK-", of(32, HEX), "-X"),
    "digitalocean": of(64, HEX, "dop_v1_"),
    "tailscale": joined("tskey-auth-k", of(10), "CNTRL-", of(32)),
    "onepassword": joined("ops_eyJ", of(250)),
    "doppler": of(43, ALNUM, "dp.pt."),
    "age": of(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", "AGE-SECRET-KEY-1"),
    "planetscale": of(43, URL, "pscale_tkn_"),
    "neon": of(64, LOWER, "napi_"),
    "azure_ad": joined(of(3), "8Q~", of(34, ALNUM + "~_-.")),
    "azure_devops": joined(of(76), "AZDO", of(4)),
    "gcp_api": of(35, URL, "AIzaSy"[:4]),
    "google_oauth": of(28, URL, "GOCSPX-"),
    "google_access": of(160, URL, "ya29.a0"),
    "google_refresh": joined("1//0", of(90, URL)),
    "firebase_fcm": joined("AAAA", of(7, URL), ":APA91b", of(134, URL)),
    "mapbox": joined("sk.eyJ1Ijoi", of(50), ".", of(22, URL)),
    "contentful": of(43, URL, "CFPAT-"),
    "okta_ssws": of(40, URL, "00"),
    "snyk": joined("snyk_uat.", of(8), ".", of(110, URL)),
    "sonar": of(40, HEX, "sqp_"),
    "circleci": joined("CCIPAT_", of(22), "_", of(40, HEX)),
    "buildkite": of(40, HEX, "bkua_"),
    "jfrog": of(69, ALNUM, "AKCp"),
    "nuget": of(43, LOWER, "oy2"),
    "rubygems": of(48, HEX, "rubygems_"),
    "crates": of(32, ALNUM, "cio"),
    "postman": joined("PMAK-", of(24, HEX), "-", of(34, HEX)),
    "pulumi": of(40, HEX, "pul-"),
    "prefect": of(36, ALNUM, "pnu_"),
    "dynatrace": joined("dt0c01.", of(24, UPPER), ".", of(64, UPPER)),
    "easypost": of(54, ALNUM, "EZAK"),
    "shippo": of(40, HEX, "shippo_live_"),
    "alibaba": of(20, ALNUM, "LTAI"),
    "clojars": of(60, LOWER, "CLOJARS_"),
    "readme": of(70, LOWER, "rdme_"),
    "facebook": joined("EAA", of(120)),
    "dropbox": joined("sl.u.", of(130, URL)),
    "typeform": joined("tfp_", of(44, URL), "_", of(14)),
    "zapier_hook": joined("https://hooks.zapier.com/hooks/catch/", _digits(7), "/", of(7, LOWER)),
    "slack_hook": joined("https://hooks.slack.com/services/T", of(8, UPPER), "/B", of(10, UPPER), "/", of(24)),
    "discord_hook": joined("https://discord.com/api/webhooks/", _digits(18), "/", of(68, URL)),
    "adafruit": of(28, ALNUM, "aio_"),
    "scalingo": of(48, URL, "tk-us-"),
    "duffel": of(43, URL, "duffel_live_"),
    "frameio": of(64, URL, "fio-u-"),
    "ethereum": of(64, HEX, "0x"),
    "jwt": _jwt,
}
"""Tokens that say by themselves what they are (but `okta_ssws` and `ethereum`, which need their
name beside them)."""
NEEDS_NAME = {"okta_ssws", "ethereum", "voyage", "mailchimp", "crates", "alibaba"}

HARMLESS: dict[str, Make] = {
    "sha1": of(40, HEX),
    "sha256": of(64, HEX),
    "md5": of(32, HEX),
    "sha512b64": _base64(64),
    "sha256b64": _base64(32),
    "hex8": of(8, HEX),
    "hex12": of(12, HEX),
    "hex16": of(16, HEX),
    "hex24": of(24, HEX),
    "uuid": _uuid,
    "upper10": of(10, UPPER),
    "alnum6": of(6),
    "alnum11": of(11, URL),
    "alnum22": of(22, URL),
    "lower5": of(5, LOWER),
    "lower10": of(10, LOWER),
    "digits4": _digits(4),
    "digits6": _digits(6),
    "digits10": _digits(10),
    "digits12": _digits(12),
    "digits18": _digits(18),
    "word": lambda r: r.choice(WORDS),
    "Word": lambda r: r.choice(WORDS).title(),
    "image": lambda r: base64.b64encode(b"\x89PNG\r\n\x1a\n" + r.randbytes(200)).decode(),
    "cert": lambda r: "\n".join(_base64(48)(r) for _ in range(8)),
    "pubkey": lambda r: "AAAAC3NzaC1lZDI1NTE5AAAAI" + of(43, B64)(r),
}
