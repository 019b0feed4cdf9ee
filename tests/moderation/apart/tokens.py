"""Credentials as their issuers make them, written without looking at the rules that must find them.

``TOKENS`` maps a kind to how one is made and how people name it: ``Token(names, make, bare)``.
``bare`` says that the value tells what it is by itself (a vendor's prefix or structure); the others
need the name beside them, as an operator would too. Everything is generated from a seeded
generator: no string here is anybody's credential.
"""

import base64
import hashlib
import hmac
import json
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

HEX = "0123456789abcdef"
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"


@dataclass(frozen=True)
class Token:
    """One kind of credential: names it is given (the first is an environment variable), how one is
    made, and whether it can be told without its name."""

    names: tuple[str, ...]
    make: Callable[[random.Random], str]
    bare: bool = False


def take(alphabet: str, length: int) -> Callable[[random.Random], str]:
    """So many characters, with a letter and a digit among them as in any real token of that
    length.
    """

    def make(rng: random.Random) -> str:
        while True:
            value = "".join(rng.choices(alphabet, k=length))
            if (
                any(c.isdigit() for c in value)
                and any(c.isalpha() for c in value)
                and value[0] not in "-_" != value[-1]
            ):
                return value

    return make


def after(prefix: str, alphabet: str, length: int, tail: str = "") -> Callable[[random.Random], str]:
    body = take(alphabet, length)
    return lambda rng: prefix + body(rng) + tail


def uuid_like(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def either(*makers: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(makers)(rng)


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(rng: random.Random) -> str:
    head = b64url(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    claims = {
        "sub": str(rng.randrange(10**9)),
        "name": rng.choice(["Ada", "Kurt", "Emmy"]),
        "iat": 1_700_000_000 + rng.randrange(10**7),
    }
    body = b64url(json.dumps(claims).encode())
    signature = hmac.new(rng.randbytes(16), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{b64url(signature)}"


def jwt_in_base64(rng: random.Random) -> str:
    return base64.b64encode(jwt(rng).encode()).decode()


def discord_bot(rng: random.Random) -> str:
    user = b64url(str(rng.randrange(10**17, 10**18)).encode())
    return f"{user}.{take(URLSAFE, 6)(rng)}.{take(URLSAFE, 38)(rng)}"


def base64_of(length: int) -> Callable[[random.Random], str]:
    return lambda rng: base64.b64encode(rng.randbytes(length)).decode()


def twitter_access(rng: random.Random) -> str:
    return f"{rng.randrange(10**9, 10**18)}-{take(ALNUM, 40)(rng)}"


def telegram(rng: random.Random) -> str:
    return f"{rng.randrange(10**8, 10**10)}:AA{take(URLSAFE, 33)(rng)}"


def teams_hook(rng: random.Random) -> str:
    tenant = f"{uuid_like(rng)}@{uuid_like(rng)}"
    return (
        f"https://contoso.webhook.office.com/webhookb2/{tenant}/IncomingWebhook/{take(HEX, 32)(rng)}/{uuid_like(rng)}"
    )


def slack_hook(rng: random.Random) -> str:
    return f"https://hooks.slack.com/services/T{take(UPPER, 10)(rng)}/B{take(UPPER, 10)(rng)}/{take(ALNUM, 24)(rng)}"


def slack_bot(rng: random.Random) -> str:
    return f"xoxb-{rng.randrange(10**11, 10**13)}-{rng.randrange(10**11, 10**13)}-{take(ALNUM, 24)(rng)}"


def mapbox(rng: random.Random) -> str:
    claims = json.dumps({"u": "example", "a": take(LOWER, 25)(rng)}, separators=(",", ":")).encode()
    return f"sk.{b64url(claims)}.{take(URLSAFE, 22)(rng)}"


def grafana_old(rng: random.Random) -> str:
    return base64.b64encode(
        json.dumps({"k": take(ALNUM, 32)(rng), "n": "ci", "id": rng.randrange(9)}, separators=(",", ":")).encode()
    ).decode()


def tfc(rng: random.Random) -> str:
    return f"{take(ALNUM, 14)(rng)}.atlasv1.{take(ALNUM, 67)(rng)}"


def vault_service(rng: random.Random) -> str:
    return "hvs." + take(URLSAFE, 95)(rng)


def of_parts(*parts: str | Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    return lambda rng: "".join(part if isinstance(part, str) else part(rng) for part in parts)


def digits(length: int) -> Callable[[random.Random], str]:
    return lambda rng: str(rng.randrange(10 ** (length - 1), 10**length))


TOKENS: dict[str, Token] = {
    # --- told by themselves
    "openai": Token(
        ("OPENAI_API_KEY", "openai_api_key"),
        either(after("sk-", ALNUM, 48), after("sk-proj-", URLSAFE, 120), after("sk-svcacct-", URLSAFE, 58)),
        True,
    ),
    "openai short": Token(
        ("OPENAI_API_KEY", "openai_key"), either(after("sk-", string.digits + "abc", 12), after("sk_", LOWER, 16)), True
    ),
    "anthropic": Token(("ANTHROPIC_API_KEY",), after("sk-ant-api03-", URLSAFE, 93, "AA"), True),
    "github classic": Token(
        ("GITHUB_TOKEN", "gh_token"),
        either(*(after(p, ALNUM, 36) for p in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"))),
        True,
    ),
    "github fine": Token(("GH_PAT",), of_parts("github_pat_", take(ALNUM, 22), "_", take(ALNUM, 59)), True),
    "gitlab pat": Token(
        ("GITLAB_TOKEN",),
        either(after("glpat-", URLSAFE, 20), after("glptt-", HEX, 40), after("GR1348941", URLSAFE, 20)),
        True,
    ),
    "slack bot": Token(("SLACK_BOT_TOKEN",), slack_bot, True),
    "slack app": Token(
        ("SLACK_APP_TOKEN",), of_parts("xapp-1-A", take(UPPER, 10), "-", digits(13), "-", take(HEX, 64)), True
    ),
    "slack user": Token(
        ("SLACK_TOKEN",), of_parts("xoxp-", digits(11), "-", digits(12), "-", digits(13), "-", take(HEX, 32)), True
    ),
    "slack legacy": Token(
        ("SLACK_SESSION",), of_parts("xoxs-", digits(10), "-", digits(11), "-", digits(12), "-", take(HEX, 10)), True
    ),
    "slack hook": Token(("SLACK_WEBHOOK_URL",), slack_hook, True),
    "stripe": Token(
        ("STRIPE_SECRET_KEY",),
        either(after("sk_live_", ALNUM, 24), after("rk_live_", ALNUM, 99), after("sk_test_", ALNUM, 24)),
        True,
    ),
    "square": Token(
        ("SQUARE_SECRET",),
        either(after("sq0csp-", URLSAFE, 43), after("sq0atp-", URLSAFE, 22), after("EAAA", URLSAFE, 60)),
        True,
    ),
    "twilio": Token(("TWILIO_API_KEY",), after("SK", HEX, 32), True),
    "sendgrid": Token(("SENDGRID_API_KEY",), of_parts("SG.", take(URLSAFE, 22), ".", take(URLSAFE, 43)), True),
    "mailchimp": Token(
        ("MAILCHIMP_API_KEY",), of_parts(take(HEX, 32), "-us", lambda rng: str(rng.randrange(1, 21))), True
    ),
    "npm": Token(("NPM_TOKEN",), after("npm_", ALNUM, 36), True),
    "pypi": Token(("TWINE_PASSWORD", "PYPI_API_TOKEN"), after("pypi-AgEIcHlwaS5vcmc", URLSAFE, 150), True),
    "aws id": Token(
        ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
        either(
            after("AKIA", string.ascii_uppercase + "234567", 16), after("ASIA", string.ascii_uppercase + "234567", 16)
        ),
        True,
    ),
    "aws secret": Token(("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", "secretAccessKey"), take(BASE64, 40)),
    "aws session": Token(("AWS_SESSION_TOKEN",), lambda rng: "IQoJb3JpZ2luX2Vj" + base64_of(400)(rng)),
    "google api": Token(("GOOGLE_API_KEY", "mapsKey"), after("AIza", URLSAFE, 35), True),
    "google api dashed": Token(
        ("GEMINI_API_KEY",), of_parts("AIzaSy", take(URLSAFE, 10), "-", take(URLSAFE, 9), "_-", take(URLSAFE, 11)), True
    ),
    "google oauth": Token(("GOOGLE_CLIENT_SECRET",), after("GOCSPX-", URLSAFE, 28), True),
    "hugging face": Token(
        ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"),
        either(after("hf_", ALNUM, 34), lambda rng: "hf_" + "".join(rng.choices(string.ascii_letters, k=34))),
        True,
    ),
    "hugging face org": Token(
        ("HF_ORG_TOKEN",), lambda rng: "api_org_" + "".join(rng.choices(string.ascii_letters, k=34)), True
    ),
    "databricks": Token(("DATABRICKS_TOKEN",), either(after("dapi", HEX, 32), after("dapi", HEX, 32, "-2")), True),
    "digitalocean": Token(("DIGITALOCEAN_ACCESS_TOKEN",), either(*(after(f"do{c}_v1_", HEX, 64) for c in "opr")), True),
    "shopify": Token(
        ("SHOPIFY_ACCESS_TOKEN",), either(*(after(f"shp{c}_", HEX, 32) for c in ("at", "ca", "pa", "ss"))), True
    ),
    "terraform cloud": Token(("TFE_TOKEN",), tfc, True),
    "vault service": Token(("VAULT_TOKEN",), vault_service, True),
    "vault batch": Token(("VAULT_TOKEN",), after("hvb.", URLSAFE, 160), True),
    "grafana old": Token(("GRAFANA_API_KEY",), grafana_old, True),
    "grafana cloud": Token(
        ("GRAFANA_CLOUD_TOKEN",), lambda rng: "glc_" + base64.b64encode(rng.randbytes(90)).decode(), True
    ),
    "grafana service": Token(("GRAFANA_SA_TOKEN",), of_parts("glsa_", take(ALNUM, 32), "_", take(HEX, 8)), True),
    "planetscale": Token(
        ("PLANETSCALE_TOKEN",),
        either(
            after("pscale_tkn_", URLSAFE, 43), after("pscale_oauth_", URLSAFE, 43), after("pscale_pw_", URLSAFE, 43)
        ),
        True,
    ),
    "doppler": Token(("DOPPLER_TOKEN",), after("dp.pt.", ALNUM, 43), True),
    "duffel": Token(
        ("DUFFEL_ACCESS_TOKEN",), either(after("duffel_test_", URLSAFE, 43), after("duffel_live_", URLSAFE, 43)), True
    ),
    "dynatrace": Token(("DT_API_TOKEN",), of_parts("dt0c01.", take(UPPER, 24), ".", take(UPPER, 64)), True),
    "easypost": Token(("EASYPOST_API_KEY",), either(after("EZAK", ALNUM, 54), after("EZTK", ALNUM, 54)), True),
    "flutterwave": Token(
        ("FLW_SECRET_KEY",),
        either(
            after("FLWSECK_TEST-", HEX, 32, "-X"),
            after("FLWSECK_TEST-", HEX, 12),
            after("FLWPUBK_TEST-", HEX, 32, "-X"),
        ),
        True,
    ),
    "frameio": Token(("FRAMEIO_TOKEN",), after("fio-u-", URLSAFE, 64), True),
    "linear": Token(("LINEAR_API_KEY",), after("lin_api_", ALNUM, 40), True),
    "postman": Token(("POSTMAN_API_KEY",), of_parts("PMAK-", take(HEX, 24), "-", take(HEX, 34)), True),
    "prefect": Token(("PREFECT_API_KEY",), after("pnu_", LOWER, 36), True),
    "pulumi": Token(("PULUMI_ACCESS_TOKEN",), after("pul-", HEX, 40), True),
    "readme": Token(("README_API_KEY",), after("rdme_", LOWER, 70), True),
    "rubygems": Token(("GEM_HOST_API_KEY",), after("rubygems_", HEX, 48), True),
    "scalingo": Token(("SCALINGO_API_TOKEN",), after("tk-us-", URLSAFE, 48), True),
    "sendinblue": Token(("BREVO_API_KEY",), of_parts("xkeysib-", take(HEX, 64), "-", take(ALNUM, 16)), True),
    "shippo": Token(("SHIPPO_TOKEN",), either(after("shippo_live_", HEX, 40), after("shippo_test_", HEX, 40)), True),
    "alibaba id": Token(("ALIBABA_CLOUD_ACCESS_KEY_ID",), after("LTAI", ALNUM, 20), True),
    "clojars": Token(("CLOJARS_TOKEN",), after("CLOJARS_", HEX, 60), True),
    "age": Token(
        ("AGE_KEY",),
        lambda rng: "AGE-SECRET-KEY-1" + "".join(rng.choices("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", k=58)),
        True,
    ),
    "adobe secret": Token(("ADOBE_CLIENT_SECRET",), after("p8e-", ALNUM, 32), True),
    "telegram": Token(("TELEGRAM_BOT_TOKEN",), telegram, True),
    "teams hook": Token(("TEAMS_WEBHOOK",), teams_hook, True),
    "discord bot": Token(("DISCORD_TOKEN", "BOT_TOKEN"), discord_bot, True),
    "artifactory": Token(("ARTIFACTORY_API_KEY",), either(after("AKCp", ALNUM, 69), after("APA", ALNUM, 60)), True),
    "jwt": Token(("ACCESS_TOKEN", "id_token"), jwt, True),
    "jwt base64": Token(("TOKEN_B64",), jwt_in_base64, True),
    "defined networking": Token(
        ("DEFINED_API_KEY",), of_parts("dnkey-", take(URLSAFE, 26), "-", take(URLSAFE, 52)), True
    ),
    "mailgun": Token(("MAILGUN_API_KEY",), either(after("key-", HEX, 32), after("pubkey-", HEX, 32)), True),
    "mapbox": Token(("MAPBOX_SECRET_TOKEN",), mapbox, True),
    "new relic": Token(("NEW_RELIC_USER_KEY",), either(after("NRAK-", UPPER, 27), after("NRJS-", HEX, 19)), True),
    "typeform": Token(("TYPEFORM_TOKEN",), after("tfp_", URLSAFE, 59), True),
    "yandex cloud": Token(("YC_API_KEY",), after("AQVN", URLSAFE, 36), True),
    "yandex iam": Token(("YC_IAM_TOKEN",), of_parts("t1.", take(URLSAFE, 90), ".", take(URLSAFE, 86)), True),
    "authress": Token(
        ("AUTHRESS_ACCESS_KEY",),
        of_parts("sc_", take(LOWER, 24), ".", take(LOWER, 5), ".acc_", take(LOWER, 16), ".", take(BASE64, 60)),
        True,
    ),
    "lob": Token(("LOB_API_KEY",), either(after("live_", HEX, 35), after("test_", HEX, 35))),
    "azure storage": Token(("AZURE_STORAGE_KEY", "AccountKey"), base64_of(64)),
    "dropbox short": Token(("DROPBOX_ACCESS_TOKEN",), after("sl.", URLSAFE, 136), True),
    # --- told by the name beside them
    "adafruit": Token(("ADAFRUIT_IO_KEY", "adafruit_api_key"), take(LOWER, 32)),
    "adobe id": Token(("ADOBE_CLIENT_ID_SECRET",), take(HEX, 32)),
    "airtable": Token(("AIRTABLE_API_KEY",), after("key", ALNUM, 14)),
    "algolia": Token(("ALGOLIA_ADMIN_API_KEY",), take(HEX, 32)),
    "alibaba secret": Token(("ALIBABA_CLOUD_ACCESS_KEY_SECRET",), take(ALNUM, 30)),
    "asana": Token(("ASANA_CLIENT_SECRET",), take(LOWER, 32)),
    "atlassian": Token(("ATLASSIAN_API_TOKEN", "JIRA_API_TOKEN", "confluence_token"), take(ALNUM, 24)),
    "bittrex": Token(("BITTREX_SECRET_KEY",), take(LOWER, 32)),
    "bitbucket": Token(("BITBUCKET_CLIENT_SECRET",), either(take(ALNUM, 32), take(URLSAFE, 64))),
    "beamer": Token(("BEAMER_API_KEY",), after("b_", ALNUM, 44)),
    "codecov": Token(("CODECOV_TOKEN",), take(LOWER, 32)),
    "coinbase": Token(("COINBASE_ACCESS_TOKEN",), take(URLSAFE, 64)),
    "confluent": Token(("CONFLUENT_API_SECRET",), take(ALNUM, 64)),
    "confluent key": Token(("CONFLUENT_API_KEY",), take(UPPER, 16)),
    "contentful": Token(("CONTENTFUL_DELIVERY_TOKEN",), take(URLSAFE, 43)),
    "datadog": Token(("DATADOG_APP_KEY", "DD_APP_KEY"), take(HEX, 40)),
    "datadog api": Token(("DD_API_KEY",), take(HEX, 32)),
    "droneci": Token(("DRONECI_TOKEN", "DRONE_TOKEN"), take(ALNUM, 32)),
    "discord secret": Token(("DISCORD_CLIENT_SECRET",), take(URLSAFE, 32)),
    "discord key": Token(("DISCORD_PUBLIC_API_TOKEN",), take(HEX, 64)),
    "dropbox": Token(("DROPBOX_APP_SECRET",), take(LOWER, 15)),
    "etsy": Token(("ETSY_API_KEY",), take(LOWER, 24)),
    "facebook": Token(("FACEBOOK_APP_SECRET",), take(HEX, 32)),
    "fastly": Token(("FASTLY_API_TOKEN",), take(URLSAFE, 32)),
    "finicity": Token(("FINICITY_APP_KEY",), take(HEX, 32)),
    "finicity secret": Token(("FINICITY_CLIENT_SECRET",), take(ALNUM, 20)),
    "finnhub": Token(("FINNHUB_API_KEY",), take(LOWER, 20)),
    "flickr": Token(("FLICKR_ACCESS_TOKEN",), take(HEX, 32)),
    "freshbooks": Token(("FRESHBOOKS_CLIENT_SECRET",), take(HEX, 64)),
    "gitter": Token(("GITTER_ACCESS_TOKEN",), take(HEX, 40)),
    "gocardless": Token(("GOCARDLESS_ACCESS_TOKEN",), after("live_", URLSAFE, 40)),
    "heroku": Token(("HEROKU_API_KEY",), uuid_like),
    "hubspot": Token(("HUBSPOT_API_KEY",), uuid_like),
    "intercom": Token(("INTERCOM_ACCESS_TOKEN",), lambda rng: "dG9rO" + take(ALNUM, 55)(rng)),
    "jfrog": Token(("JFROG_IDENTITY_TOKEN",), take(ALNUM, 64)),
    "kraken": Token(("KRAKEN_PRIVATE_KEY",), base64_of(64)),
    "kucoin": Token(("KUCOIN_API_SECRET",), uuid_like),
    "kucoin key": Token(("KUCOIN_API_KEY",), take(HEX, 24)),
    "launchdarkly": Token(("LAUNCHDARKLY_SDK_KEY",), either(of_parts("sdk-", uuid_like), take(URLSAFE, 40))),
    "linear secret": Token(("LINEAR_CLIENT_SECRET",), take(HEX, 32)),
    "linkedin": Token(("LINKEDIN_CLIENT_SECRET",), take(ALNUM, 16)),
    "mattermost": Token(("MATTERMOST_ACCESS_TOKEN",), take(LOWER, 26)),
    "messagebird": Token(("MESSAGEBIRD_API_KEY",), take(ALNUM, 25)),
    "netlify": Token(("NETLIFY_AUTH_TOKEN",), either(take(URLSAFE, 43), after("nfp_", ALNUM, 36))),
    "nytimes": Token(("NYTIMES_API_KEY", "nyt_api_key"), take(ALNUM, 32)),
    "okta": Token(("OKTA_API_TOKEN",), after("00", URLSAFE, 40)),
    "rapidapi": Token(
        ("RAPIDAPI_KEY", "X-RapidAPI-Key"),
        of_parts(take(LOWER, 10), "msh", take(LOWER, 15), "p1", take(LOWER, 6), "jsn", take(HEX, 11)),
    ),
    "sendbird": Token(("SENDBIRD_API_TOKEN",), take(HEX, 40)),
    "sentry": Token(("SENTRY_AUTH_TOKEN",), take(HEX, 64)),
    "snyk": Token(("SNYK_TOKEN",), uuid_like),
    "squarespace": Token(("SQUARESPACE_API_KEY",), uuid_like),
    "sumologic": Token(("SUMOLOGIC_ACCESS_KEY",), take(ALNUM, 64)),
    "sumologic id": Token(("SUMO_ACCESS_ID_SECRET",), after("su", ALNUM, 12)),
    "travisci": Token(("TRAVIS_ACCESS_TOKEN",), take(URLSAFE, 22)),
    "twitch": Token(("TWITCH_CLIENT_SECRET",), take(LOWER, 30)),
    "twitter key": Token(("TWITTER_API_KEY", "TWITTER_CONSUMER_KEY"), take(ALNUM, 25)),
    "twitter secret": Token(("TWITTER_API_SECRET",), take(ALNUM, 50)),
    "twitter access": Token(("TWITTER_ACCESS_TOKEN",), twitter_access),
    "twitter bearer": Token(
        ("TWITTER_BEARER_TOKEN",), lambda rng: "A" * 22 + take(ALNUM, 40)(rng) + "%3D" + take(ALNUM, 41)(rng)
    ),
    "zendesk": Token(("ZENDESK_API_TOKEN", "zendesk_secret"), take(ALNUM, 40)),
    "softlayer": Token(("SOFTLAYER_API_KEY", "sl_api_key"), take(HEX, 64)),
    "ibm cos": Token(("IBM_COS_HMAC_SECRET_ACCESS_KEY", "cos_hmac_secret_access_key"), take(HEX, 48)),
    "cloudant": Token(
        ("CLOUDANT_PASSWORD", "cloudant_api_key"),
        either(take(HEX, 64), lambda rng: "".join(rng.choices(string.ascii_lowercase, k=24))),
    ),
    "ibm iam": Token(("IBMCLOUD_API_KEY", "ibm_cloud_iam_key"), take(URLSAFE, 44)),
    "newrelic insert": Token(("NEW_RELIC_INSERT_KEY",), after("NRII-", URLSAFE, 32)),
    "mailgun signing": Token(("MAILGUN_SIGNING_KEY",), of_parts(take(HEX, 32), "-", take(HEX, 8), "-", take(HEX, 8))),
    "vault legacy": Token(("VAULT_TOKEN",), after("s.", ALNUM, 24)),
    "base64 entropy": Token(("ENCRYPTION_KEY", "signing_key", "FERNET_KEY"), base64_of(32)),
    "hex entropy": Token(("SECRET_KEY", "session_secret", "HMAC_KEY"), either(take(HEX, 32), take(HEX, 64))),
}
"""Every kind of the vendors we know, by the name an operator would use for it."""


PASSWORDS: tuple[str, ...] = (
    "hunter2",
    "Tr0ub4dor&3",
    "correct-horse-battery-9",
    "P@ssw0rd!2024",
    "Xk9#mP2$vL",
    "qwerty1234!",
    "Summer2025!",
    "s3cr3t",
    "letmein99",
    "N0tTh3R34l0ne",
    "adm1n_root",
    "9f!kLz72Qw",
    "pg_pass_4471",
    "Welcome1",
    "zaq12wsx",
    "hG7_tt-92kq",
)
"""Short ones that people choose. They have no shape: only the name beside them tells."""
