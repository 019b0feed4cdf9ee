"""Secrets, made from what vendors publish of their formats; written without a look at the rules.
Seeded.

`secrets()` gives (type, text, secret): the text as somebody would paste it into a prompt, and the
very string that must not leave.
"""

import base64
import json
import random
import uuid
from collections.abc import Callable, Iterator

LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"


HEX = "0123456789abcdef"


ALNUM = LOWER + UPPER + DIGITS


LOWNUM = LOWER + DIGITS


B64 = ALNUM + "+/"


URL64 = ALNUM + "_-"


Make = Callable[[random.Random], str]


def of(alphabet: str, n: int, before: str = "", after: str = "") -> Make:
    def make(r: random.Random) -> str:
        return before + "".join(r.choice(alphabet) for _ in range(n)) + after

    return make


def joined(*makes: Make | str) -> Make:
    return lambda r: "".join(m if isinstance(m, str) else m(r) for m in makes)


def guid(r: random.Random) -> str:
    return str(uuid.UUID(int=r.getrandbits(128), version=4))


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(r: random.Random) -> str:
    head = b64url(json.dumps({"alg": r.choice(["HS256", "RS256"]), "typ": "JWT"}).encode())
    body = b64url(json.dumps({"sub": str(r.randrange(10**9)), "iat": 1700000000, "name": "Ann"}).encode())
    return f"{head}.{body}.{of(URL64, 43)(r)}"


def pem(label: str, lines: int) -> Make:
    def make(r: random.Random) -> str:
        body = "\n".join(of(B64, 64)(r) for _ in range(lines)) + "\n" + of(B64, 30)(r) + "=="
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"

    return make


# By itself recognisable: (detector, how it is made).
SHAPED: list[tuple[str, Make]] = [
    ("OpenAIApiKey", joined("sk-", of(ALNUM, 20), "T3BlbkFJ", of(ALNUM, 20))),
    ("OpenAIApiKey", joined("sk-proj-", of(URL64, 60), "1")),
    ("OpenAIApiKey", joined("sk-", of(DIGITS, 10))),
    ("GitHubToken", of(ALNUM, 36, "ghp_")), ("GitHubToken", of(ALNUM, 36, "gho_")), ("GitHubToken", of(ALNUM, 36, "ghs_")),
    ("GitHubToken", joined("github_pat_", of(ALNUM, 22), "_", of(ALNUM, 59))),
    ("GitLab", of(URL64, 20, "glpat-")), ("GitLab", of(HEX, 40, "glptt-")), ("GitLab", of(ALNUM, 20, "GR1348941")),
    ("Slack", joined("xoxb-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(ALNUM, 24))),
    ("Slack", joined("xoxp-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(HEX, 32))),
    ("Slack", joined("xapp-1-A", of(UPPER + DIGITS, 10), "-", of(DIGITS, 13), "-", of(HEX, 64))),
    ("Slack", joined("https://hooks.slack.com/services/T", of(UPPER + DIGITS, 8), "/B", of(UPPER + DIGITS, 10), "/", of(ALNUM, 24))),
    ("Stripe", of(ALNUM, 24, "sk_live_")), ("Stripe", of(ALNUM, 99, "rk_live_")), ("Stripe", of(ALNUM, 24, "sk_test_")),
    ("SquareOAuth", of(URL64, 43, "sq0csp-")), ("SquareOAuth", of(URL64, 22, "sq0atp-")),
    ("Twilio", of(HEX, 32, "SK")), ("Twilio", of(HEX, 32, "AC")),
    ("SendGrid", joined("SG.", of(URL64, 22), ".", of(URL64, 43))),
    ("Mailchimp", joined(of(HEX, 32), "-us", of("123456789", 1))),
    ("Npm", of(ALNUM, 36, "npm_")), ("Npm", joined("//npm.example.com/:_authToken=", guid)),
    ("PyPi", of(URL64, 120, "pypi-AgEIcHlwaS5vcmc")),
    ("AWSKey", of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, "AKIA")), ("AWSKey", of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, "ASIA")),
    ("GCPApiKey", of(URL64, 35, "AIza")), ("HuggingFace", of(LOWER + UPPER, 34, "hf_")), ("HuggingFace", of(LOWER + UPPER, 34, "api_org_")),
    ("Databricks", of(HEX, 32, "dapi")), ("Digitalocean", of(HEX, 64, "dop_v1_")), ("Digitalocean", of(HEX, 64, "doo_v1_")),
    ("Shopify", of(HEX, 32, "shpat_")), ("Shopify", of(HEX, 32, "shpss_")),
    ("HashiCorpTF", joined(of(ALNUM, 14), ".atlasv1.", of(URL64, 66))), ("Vault", of(URL64, 95, "hvs.")), ("Vault", of(URL64, 150, "hvb.")),
    ("Grafana", joined("glsa_", of(ALNUM, 32), "_", of(HEX, 8))), ("Grafana", of(ALNUM, 60, "glc_")), ("Grafana", of(ALNUM, 80, "eyJrIjoi")),
    ("PlanetScale", of(URL64, 43, "pscale_tkn_")), ("PlanetScale", of(URL64, 43, "pscale_pw_")), ("Doppler", of(ALNUM, 43, "dp.pt.")),
    ("Duffel", of(URL64, 43, "duffel_test_")), ("Dynatrace", joined("dt0c01.", of(UPPER + DIGITS, 24), ".", of(UPPER + DIGITS, 64))),
    ("EasyPost", of(ALNUM, 54, "EZAK")), ("EasyPost", of(ALNUM, 54, "EZTK")), ("Flutterwave", of(HEX, 32, "FLWSECK_TEST-", "-X")),
    ("FrameIo", of(URL64, 64, "fio-u-")), ("Linear", of(ALNUM, 40, "lin_api_")),
    ("Postman", joined("PMAK-", of(HEX, 24), "-", of(HEX, 34))), ("Prefect", of(LOWNUM, 36, "pnu_")), ("Pulumi", of(HEX, 40, "pul-")),
    ("Readme", of(LOWNUM, 70, "rdme_")), ("Rubygems", of(HEX, 48, "rubygems_")), ("Scalingo", of(URL64, 48, "tk-us-")),
    ("SendinBlue", joined("xkeysib-", of(HEX, 64), "-", of(ALNUM, 16))), ("Shippo", of(HEX, 40, "shippo_live_")),
    ("Alibaba", of(ALNUM, 20, "LTAI")), ("Clojars", of(ALNUM, 60, "CLOJARS_")), ("AgeSecretKey", of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, "AGE-SECRET-KEY-1")),
    ("Adobe", of(ALNUM, 32, "p8e-")), ("Telegram", joined(of("123456789", 9), ":A", of(URL64, 34))),
    ("MicrosoftTeamsWebhook", joined("https://acme.webhook.office.com/webhookb2/", guid, "@", guid, "/IncomingWebhook/", of(HEX, 32), "/", guid)),
    ("NewRelic", of(UPPER + DIGITS, 27, "NRAK-")), ("MapBox", joined("pk.eyJ", of(ALNUM, 60), ".", of(ALNUM, 22))),
    ("Mailgun", of(HEX, 32, "key-")), ("Typeform", of(URL64, 59, "tfp_")), ("DefinedNetworking", joined("dnkey-", of(LOWNUM, 26), "-", of(LOWNUM, 52))),
    ("Artifactory", of(ALNUM, 70, "AKC")), ("JwtToken", jwt), ("PrivateKey", pem("RSA PRIVATE KEY", 12)), ("PrivateKey", pem("OPENSSH PRIVATE KEY", 6)),
    ("PrivateKey", pem("EC PRIVATE KEY", 2)), ("PrivateKey", pem("PRIVATE KEY", 14)), ("PrivateKey", pem("PGP PRIVATE KEY BLOCK", 14)),
    ("Anthropic", of(URL64, 93, "sk-ant-api03-", "AA")), ("Atlassian", of(URL64, 180, "ATATT3xFfGF0")),
    ("Sentry", of(B64, 60, "sntrys_eyJ")), ("DiscordBotToken", joined("M", of(ALNUM, 23), ".", of(ALNUM, 6), ".", of(URL64, 38))),
    ("FacebookAccessToken", of(ALNUM, 120, "EAACEdEose0cBA")), ("Airtable", joined("pat", of(ALNUM, 14), ".", of(HEX, 64))),
]  # fmt: skip


# Only recognisable by the name beside it: (detector, names, how it is made).
NAMED: list[tuple[str, list[str], Make]] = [
    ("AdafruitKey", ["ADAFRUIT_IO_KEY", "adafruit_key"], of(LOWNUM, 32)),
    ("AirtableApiKey", ["AIRTABLE_API_KEY", "airtable_key"], of(ALNUM, 17)),
    ("AlgoliaApiKey", ["ALGOLIA_ADMIN_KEY", "algolia_api_key"], of(HEX, 32)),
    ("AlibabaSecret", ["ALIBABA_CLOUD_ACCESS_KEY_SECRET", "aliyun_secret"], of(ALNUM, 30)),
    ("AsanaSecret", ["ASANA_CLIENT_SECRET", "asana_token"], of(LOWNUM, 32)),
    ("AtlassianApiToken", ["ATLASSIAN_API_TOKEN", "jira_token"], of(ALNUM, 24)),
    ("AuthressAccessKey", ["AUTHRESS_ACCESS_KEY"], joined("sc_", of(LOWNUM, 8), ".", of(LOWNUM, 5), ".acc_", of(LOWNUM, 14), ".", of(LOWNUM, 44))),
    ("Bittrex", ["BITTREX_SECRET_KEY", "bittrex_key"], of(LOWNUM, 32)),
    ("Bitbucket", ["BITBUCKET_CLIENT_SECRET", "bitbucket_token"], of(ALNUM, 64)),
    ("BeamerApiToken", ["BEAMER_API_TOKEN"], of(ALNUM, 44, "b_")),
    ("CodecovAccessToken", ["CODECOV_TOKEN"], of(LOWNUM, 32)),
    ("CodecovAccessToken", ["CODECOV_TOKEN"], guid),
    ("CoinbaseAccessToken", ["COINBASE_SECRET", "coinbase_api_key"], of(URL64, 64)),
    ("Confluent", ["CONFLUENT_SECRET", "confluent_api_secret"], of(ALNUM, 64)),
    ("ContentfulApiToken", ["CONTENTFUL_DELIVERY_TOKEN"], of(URL64, 43)),
    ("DatadogAccessToken", ["DD_API_KEY", "DATADOG_APP_KEY", "datadog_api_key"], of(HEX, 40)),
    ("DroneciAccessToken", ["DRONE_TOKEN", "droneci_token"], of(LOWNUM, 32)),
    ("Discord", ["DISCORD_CLIENT_SECRET"], of(URL64, 32)),
    ("Dropbox", ["DROPBOX_APP_SECRET", "dropbox_token"], of(LOWNUM, 15)),
    ("EtsyAccessToken", ["ETSY_API_KEY"], of(LOWNUM, 24)),
    ("FacebookAccessToken", ["FACEBOOK_APP_SECRET"], of(HEX, 32)),
    ("FastlyApiKey", ["FASTLY_API_TOKEN", "fastly_key"], of(URL64, 32)),
    ("Finicity", ["FINICITY_CLIENT_SECRET", "finicity_app_key"], of(LOWNUM, 20)),
    ("FinnhubAccessToken", ["FINNHUB_API_KEY", "finnhub_token"], of(LOWNUM, 20)),
    ("FlickrAccessToken", ["FLICKR_API_SECRET", "flickr_access_token"], of(LOWNUM, 32)),
    ("FreshbooksAccessToken", ["FRESHBOOKS_SECRET", "freshbooks_access_token"], of(LOWNUM, 64)),
    ("GitterAccessToken", ["GITTER_TOKEN"], of(LOWNUM, 40)),
    ("GoCardlessApiToken", ["GOCARDLESS_ACCESS_TOKEN"], of(URL64, 40, "live_")),
    ("HerokuApiKey", ["HEROKU_API_KEY", "heroku_key"], guid),
    ("HubSpotApiToken", ["HUBSPOT_API_KEY", "hubspot_token"], guid),
    ("IntercomApiToken", ["INTERCOM_TOKEN"], of(LOWNUM, 60)),
    ("JFrog", ["JFROG_API_KEY", "artifactory_token"], of(ALNUM, 73)),
    ("KrakenAccessToken", ["KRAKEN_PRIVATE_KEY"], of(B64, 86, "", "==")),
    ("Kucoin", ["KUCOIN_SECRET_KEY"], guid),
    ("LaunchdarklyAccessToken", ["LAUNCHDARKLY_SDK_KEY"], joined("sdk-", guid)),
    ("LinkedIn", ["LINKEDIN_CLIENT_SECRET"], of(ALNUM, 16)),
    ("Lob", ["LOB_API_KEY"], of(HEX, 35, "live_")),
    ("MattermostAccessToken", ["MATTERMOST_TOKEN"], of(LOWNUM, 26)),
    ("MessageBird", ["MESSAGEBIRD_ACCESS_KEY", "messagebird_token"], of(ALNUM, 25)),
    ("NetlifyAccessToken", ["NETLIFY_AUTH_TOKEN"], of(URL64, 43)),
    ("NYTimesAccessToken", ["NYTIMES_API_KEY"], of(ALNUM, 32)),
    ("OktaAccessToken", ["OKTA_API_TOKEN"], of(URL64, 40, "00")),
    ("RapidApiAccessToken", ["RAPIDAPI_KEY", "X-RapidAPI-Key"], of(ALNUM, 50)),
    ("Sendbird", ["SENDBIRD_API_TOKEN", "sendbird_token"], of(HEX, 40)),
    ("SentryAccessToken", ["SENTRY_AUTH_TOKEN"], of(HEX, 64)),
    ("SnykApiToken", ["SNYK_TOKEN"], guid),
    ("SquarespaceAccessToken", ["SQUARESPACE_ACCESS_TOKEN"], guid),
    ("SumoLogic", ["SUMO_LOGIC_ACCESS_KEY", "sumologic_token"], of(ALNUM, 64)),
    ("TravisCiAccessToken", ["TRAVIS_TOKEN"], of(ALNUM, 22)),
    ("TwitchApiToken", ["TWITCH_CLIENT_SECRET", "twitch_token"], of(LOWNUM, 30)),
    ("Twitter", ["TWITTER_API_SECRET", "twitter_access_token_secret"], of(ALNUM, 45)),
    ("Yandex", ["YANDEX_API_KEY"], of(URL64, 36, "AQVN")),
    ("ZendeskSecretKey", ["ZENDESK_SECRET", "zendesk_token"], of(LOWNUM, 40)),
    ("Softlayer", ["SOFTLAYER_API_KEY", "softlayer_key"], of(HEX, 64)),
    ("Cloudant", ["CLOUDANT_PASSWORD", "cloudant_api_key"], of(HEX, 64)),
    ("IbmCloudIam", ["IBM_CLOUD_API_KEY", "ibm_iam_key"], of(URL64, 44)),
    ("IbmCosHmac", ["COS_HMAC_SECRET_ACCESS_KEY"], of(HEX, 48)),
    ("AzureStorageKey", ["AccountKey", "AZURE_STORAGE_KEY"], of(B64, 86, "", "==")),
    ("AWSKey", ["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"], of(B64, 40)),
    ("CredentialKeyword", ["password", "DB_PASSWORD", "db.password", "smtpPassword"], joined(of(UPPER, 1), of(ALNUM, 8), of("!@#$%^*", 1), of(DIGITS, 2))),
    ("CredentialKeyword", ["client_secret", "CLIENT_SECRET", "clientSecret"], of(URL64, 40)),
    ("CredentialKeyword", ["api_key", "API_KEY", "apiKey", "x-api-key", "API_TOKEN"], of(ALNUM, 32)),
    ("CredentialKeyword", ["secret", "SECRET_KEY", "jwt_secret", "signing_key", "encryption_key"], of(HEX, 64)),
    ("CredentialKeyword", ["access_token", "refresh_token", "authToken", "session_token"], of(URL64, 48)),
    ("Base64HighEntropy", ["encryption_key", "MASTER_KEY", "webhook_secret"], of(B64, 43, "", "=")),
    ("HexHighEntropy", ["api_secret", "AUTH_TOKEN"], of(HEX, 40)),
]  # fmt: skip


SHAPED_IN = [
    "my token is {s}, can you check why it gets a 401?",
    "Please debug: curl -H 'Authorization: Bearer {s}' https://api.example.org/v1/me",
    'import client\nc = client.Client("{s}")\nprint(c.list())',
    "The log says: connected with {s} at 10:04",
    '{{"result": {{"stdout": "{s}\\n", "code": 0}}}}',
    "export TOKEN={s}",
    "config:\n  token: {s}\n  retries: 3",
    "| name | value |\n|---|---|\n| prod | {s} |",
    "我的密钥是 {s} 谢谢",
    "- {s}\n- and nothing else",
    "<token>{s}</token>",
    'headers = {{"X-Token": "{s}"}}',
]


NAMED_IN = [
    "{n}={s}",
    "{n}: {s}",
    'export {n}="{s}"',
    "{n} = '{s}'",
    '{{"{n}": "{s}", "retries": 3}}',
    'config:\n  retries: 3\n  {n}: "{s}"\n',
    'os.environ["{n}"] = "{s}"',
    "const {n} = `{s}`;",
    "Why does this fail?\n```\n{n}={s}\nDEBUG=1\n```",
    "ENV {n} {s}",
    "set {n}={s} && run",
    "{n} => '{s}',",
    "docker run -e {n}={s} image:latest",
    '"env": [{{"name": "{n}", "value": "{s}"}}]',
    "- name: {n}\n  value: {s}\n",
    "[default]\n{n} = {s}\nregion = eu-west-1",
    'String {n} = "{s}";',
    '{n} := "{s}"',
    "The {n} is {s}",
    'tool result: {{\\"{n}\\": \\"{s}\\"}}',
]


def _special(r: random.Random) -> Iterator[tuple[str, str, str]]:
    """What LiteLLM's detectors miss, and other forms."""
    for _ in range(4):
        word = of(ALNUM, 10)(r) + r.choice("!#$*") + of(DIGITS, 2)(r)
        host = "db." + of(LOWER, 6)(r) + ".internal"
        yield "BasicAuth", f"postgres://app:{word.replace('#', 'x')}@{host}:5432/main", word.replace("#", "x")
        yield "BasicAuth", f"DATABASE_URL=mysql://root:{of(ALNUM, 12)(r)}@{host}/x".replace("\0", ""), ""
        yield "BasicAuth", f"redis-cli -u redis://:{(w := of(ALNUM, 16)(r))}@{host}:6379", w
        yield "BasicAuth", f"curl -u ann:{(w := of(ALNUM, 12)(r))} https://{host}/x", w
        yield "BasicAuth", f"mongodb+srv://svc:{(w := of(ALNUM, 18)(r))}@cluster0.{of(LOWER, 5)(r)}.mongodb.net/test", w
        basic = base64.b64encode(f"ann:{word}".encode()).decode()
        yield "BasicAuth", f"Authorization: Basic {basic}", basic
        token = jwt(r)
        yield "JwtToken", f"cookie: session={token}; path=/", token
        key = pem("RSA PRIVATE KEY", 6)(r)
        yield "PrivateKey", json.dumps({"type": "service_account", "private_key": key}), key.splitlines()[2]
        yield "PrivateKey", 'key = """' + key + '"""', key.splitlines()[3]
        yield "Password", f"the password for the staging box is {word}", word
        yield "Password", f"login: admin / password: {word}", word
        yield "Password", f"machine api.example.org login ann password {(w := of(ALNUM, 14)(r))}", w
        yield "Password", f"mysqldump -u root --password={(w := of(ALNUM, 14)(r))} main", w
        yield (
            "Azure",
            (
                f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={(w := of(B64, 86)(r) + '==')};EndpointSuffix=core.windows.net"
            ),
            w,
        )
        yield (
            "Azure",
            f"Server=tcp:x.database.windows.net;User ID=sa;Password={(w := of(ALNUM, 15)(r))};Encrypt=True",
            w,
        )
        yield "Query", f"GET /v1/items?api_key={(w := of(ALNUM, 32)(r))}&page=2", w
        yield "Query", f"https://api.example.org/x?page=2&access_token={(w := of(URL64, 40)(r))}", w
        yield "XML", f'<add key="x" /><password>{(w := of(ALNUM, 13)(r) + "!")}</password>', w
        yield "Type", f'password: str = "{(w := of(ALNUM, 14)(r))}"', w
        yield "AWSKey", f"AKIA{of('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)(r)} / {(w := of(B64, 40)(r))}", w
        yield "DashKey", f"x-goog-api-key: AIza{(w := of(ALNUM, 16)(r) + '-' + of(ALNUM, 18)(r))}", w


def secrets(seed: int = 7) -> list[tuple[str, str, str]]:
    """At least 400."""
    r = random.Random(seed)
    found: list[tuple[str, str, str]] = []
    for kind, make in SHAPED:
        for template in r.sample(SHAPED_IN, 3):
            secret = make(r)
            if "\n" in secret and ('"' in template and "{{" in template):
                template = SHAPED_IN[9]
            whole = secret
            if kind in ("Slack", "MicrosoftTeamsWebhook") and secret.startswith("https://"):
                whole = secret.rpartition("/")[2]
            if secret.startswith("//registry"):
                whole, template = secret.partition("=")[2], "{s}\nalways-auth=true"
            if kind == "PrivateKey":
                whole = secret.splitlines()[1]
            found.append((kind, template.format(s=secret), whole))
    for kind, names, make in NAMED:
        for template in r.sample(NAMED_IN, 4):
            secret = make(r)
            found.append((kind, template.format(n=r.choice(names), s=secret), secret))
    found += [each for each in _special(r) if each[2]]
    return found
