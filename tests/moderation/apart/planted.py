"""The planted cases: every kind in several places, and what is often missed (PEM bodies, URLs,
short passwords ...).
"""

import base64
import hashlib
import json
import random
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.moderation.apart.places import NAMED, UNNAMED
from tests.moderation.apart.tokens import HEX, PASSWORDS, TOKENS, URLSAFE, jwt, take

PLACES_A_KIND = 5
"""Places drawn for each kind. All kinds together meet all places many times."""


@dataclass(frozen=True)
class Planted:
    """A text with one credential: nothing of ``secret`` may be left of it."""

    kind: str
    place: str
    text: str
    secret: str

    @property
    def shown(self) -> bool:
        """The half that may be looked at while rules are tuned; the other half is only counted."""
        return hashlib.sha256(f"{self.kind}/{self.place}/{self.text}".encode()).digest()[0] % 2 == 0


def tokens() -> Iterator[Planted]:
    for kind, token in TOKENS.items():
        rng = random.Random(f"apart {kind}")
        for place in rng.sample(NAMED, PLACES_A_KIND):
            value = token.make(rng)
            yield Planted(kind, place.__name__, place(rng, rng.choice(token.names), value), secret_of(kind, value))
        for unnamed in rng.sample(UNNAMED, 2) if token.bare else ():
            value = token.make(rng)
            yield Planted(kind, unnamed.__name__, unnamed(rng, token.names[0], value), secret_of(kind, value))


def secret_of(kind: str, value: str) -> str:
    """Of a hook's URL the last parts: whose it is may be seen."""
    return (
        value.partition("/services/")[2] or value.partition("/IncomingWebhook/")[2] if kind.endswith("hook") else value
    )


def pem(rng: random.Random, label: str, size: int) -> tuple[str, str]:
    """A private key as PEM: (the whole, its body)."""
    body = "\n".join(textwrap.wrap(base64.b64encode(rng.randbytes(size)).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----", body


PEM_LABELS = (
    ("RSA PRIVATE KEY", 1190),
    ("EC PRIVATE KEY", 121),
    ("PRIVATE KEY", 1217),
    ("ENCRYPTED PRIVATE KEY", 1300),
    ("OPENSSH PRIVATE KEY", 400),
    ("DSA PRIVATE KEY", 450),
    ("PGP PRIVATE KEY BLOCK", 900),
)


def private_keys() -> Iterator[Planted]:
    rng = random.Random("apart pem")
    for label, size in PEM_LABELS:
        whole, body = pem(rng, label, size)
        line = body.splitlines()[1]
        yield Planted("pem", f"{label} plain", f"cat id\n{whole}\n", line)
        yield Planted("pem", f"{label} last line", f"is this valid?\n\n{whole}", body.splitlines()[-1])
        yield Planted("pem", f"{label} json", json.dumps({"private_key_id": "7", "private_key": whole + "\n"}), line)
        yield Planted("pem", f"{label} env", "KEY=" + json.dumps(whole), line)
        yield Planted("pem", f"{label} yaml", "tls:\n  key: |\n" + textwrap.indent(whole, "    ") + "\n  port: 1", line)
        yield Planted("pem", f"{label} cut off", "here\n" + "\n".join(whole.splitlines()[:4]), line)
        yield Planted("pem", f"{label} quoted mail", textwrap.indent(whole, "> "), line)
        yield Planted("pem", f"{label} one line", whole.replace("\n", " "), line)
        yield Planted("pem", f"{label} crlf", whole.replace("\n", "\r\n"), line)
        code = "\n".join(f'    "{part}\\n"' for part in whole.splitlines())
        yield Planted("pem", f"{label} code", f"KEY = (\n{code}\n)", line)


URLS = (
    "postgres://app:{}@db.internal:5432/app",
    "postgresql+asyncpg://svc_user:{}@10.0.3.7/ledger?sslmode=require",
    "mysql://root:{}@localhost:3306/shop",
    "mongodb+srv://admin:{}@cluster0.ab1cd.mongodb.net/prod",
    "mongodb://u:{}@m1:27017,m2:27017/?replicaSet=rs0",
    "redis://:{}@cache.internal:6379/0",
    "rediss://default:{}@eu1-redis.example.net:6380",
    "amqp://guest1:{}@rabbit:5672/%2f",
    "https://deploy:{}@git.example.com/team/repo.git",
    "ftp://anna:{}@files.example.org/in",
    "smtp://mailer%40example.com:{}@smtp.example.com:587",
    "nats://edge:{}@127.0.0.1:4222",
    "sqlserver://sa:{}@mssql:1433?database=x",
    "clickhouse://default:{}@ch:9000/logs",
    "ldap://cn=admin:{}@ldap.example.com",
    "socks5://proxyuser:{}@10.1.1.1:1080",
)

URL_PLACES = (
    "DATABASE_URL={}",
    'url: "{}"',
    "my connection string is {} and it times out",
    '{{"dsn": "{}"}}',
    "engine = create_engine('{}')",
    "$ psql {}\npsql: error: connection refused",
    "See <{}>.",
    "{}",
)


def urls() -> Iterator[Planted]:
    rng = random.Random("apart urls")
    safe = [password for password in PASSWORDS if not set(password) & set("@#/&%$!")]
    for number, url in enumerate(URLS):
        for step in range(2):
            secret = rng.choice(safe) if step else take(URLSAFE, 20)(rng)
            place = URL_PLACES[(number * 2 + step) % len(URL_PLACES)]
            yield Planted("url", f"{url.split(':')[0]} {place[:12]}", place.format(url.format(secret)), secret)


PASSWORD_NAMES = (
    "PASSWORD",
    "DB_PASSWORD",
    "ADMIN_PASSWORD",
    "SMTP_PASS",
    "MYSQL_ROOT_PASSWORD",
    "db_passwd",
    "user_pwd",
)

PASSWORD_SENTENCES = (
    "password: {}",
    "Password: {}\nUser: ada",
    "the password is {}",
    "My password is {} - is that strong enough?",
    "login with user admin and password {}",
    "user: root / pass: {}",
    "username=svc;password={};database=x",
    "Server=db;Uid=sa;Pwd={};Encrypt=true",
    "mysql -u root -p{} shop < dump.sql",
    "sshpass -p '{}' ssh deploy@10.0.0.4",
    "curl -u admin:{} https://nexus.example.com/repo",
    "CREATE USER app WITH PASSWORD '{}';",
    "ALTER USER 'root'@'%' IDENTIFIED BY '{}';",
    "machine api.example.com login bob password {}",
    "INSERT INTO users (name, password) VALUES ('bob', '{}');",
    "<password>{}</password>",
    "ansible_ssh_pass={}",
    'wifi: {{ ssid: "home", psk: "{}" }}',
    "密码：{}",
    "我的密码是 {}，为什么登录不了？",
    "Mein Passwort ist {}",
    "mot de passe : {}",
    "contraseña: {}",
    "пароль: {}",
    "db.password = {}",
    "passphrase: {}",
    "net use Z: \\\\srv\\share /user:corp\\bob {}",
    "echo '{}' | sudo -S apt update",
    "PGPASSWORD={} psql -h db -U app",
    "the db password should be `{}`",
)


def passwords() -> Iterator[Planted]:
    rng = random.Random("apart passwords")
    for place in NAMED[::2]:
        secret = rng.choice(PASSWORDS)
        if "&" in secret or place.__name__ in ("said_quoted", "said_backticks", "query"):
            secret = "N0tTh3R34l0ne"
        yield Planted("password", place.__name__, place(rng, rng.choice(PASSWORD_NAMES), secret), secret)
    for sentence in PASSWORD_SENTENCES:
        secret = rng.choice([p for p in PASSWORDS if not set(p) & set("&'$!#")])
        yield Planted("password", sentence[:24], sentence.format(secret), secret)


def others() -> Iterator[Planted]:
    rng = random.Random("apart others")
    for name in (
        "api_key",
        "auth_token",
        "client_secret",
        "private_token",
        "access_key",
        "encryption_key",
        "webhook_secret",
    ):
        for step, length in enumerate((16, 20, 32, 40)):
            value = take((HEX, URLSAFE)[step % 2], length)(rng)
            place = rng.choice(NAMED)
            yield Planted("generic", f"{name} {place.__name__}", place(rng, "MYAPP_" + name.upper(), value), value)
    encoded = base64.b64encode(b"hunter2-prod-9912").decode()
    yield Planted("kubernetes data", "yaml", f"kind: Secret\ndata:\n  password: {encoded}\n", encoded)
    basic = base64.b64encode(b"admin:s3cr3tpassw0rd").decode()
    yield Planted("basic header", "curl", f"curl -H 'Authorization: Basic {basic}' https://x.example", basic)
    yield Planted("basic header", "log", f"> authorization: Basic {basic}\n> accept: */*", basic)
    token = jwt(rng)
    yield Planted("jwt", "cookie", f"Cookie: theme=dark; session={token}; lang=de", token.split(".")[2])
    yield Planted(
        "jwt", "url", f"https://app.example.com/cb#access_token={token}&token_type=bearer", token.split(".")[2]
    )
    yield Planted("jwt", "line break", f"token:\n{token}\n", token.split(".")[2])
    sig = take(URLSAFE, 43)(rng)
    yield Planted(
        "sas", "url", f"https://acct.blob.core.windows.net/c/f.csv?sv=2022-11-02&ss=b&se=2026-01-01&sig={sig}%3D", sig
    )
    account = base64.b64encode(rng.randbytes(64)).decode()
    connection = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={account};EndpointSuffix=core.windows.net"
    yield Planted("azure storage", "connection string", connection, account)
    npm = take(HEX, 36)(rng)
    yield Planted("npm", "npmrc", f"//npm.example.com/:_authToken={npm}\nalways-auth=true", npm)
    docker = base64.b64encode(b"robot:Xk92mmPqL").decode()
    yield Planted("docker", "config", json.dumps({"auths": {"hub.example.com": {"auth": docker}}}), docker)
    yield Planted("page", "1", "API_KEY = 'sk_1234567890abcdef'", "sk_1234567890abcdef")
    yield Planted("page", "2", "what is the value of my open ai key? openai_api_key=sk-1234998222", "sk-1234998222")
    yield Planted("page", "3", "does my openai key look well formatted OpenAI_API_KEY=sk-1234777", "sk-1234777")


@cache
def planted() -> tuple[Planted, ...]:
    """All of them, each text once."""
    cases = [*tokens(), *private_keys(), *urls(), *passwords(), *others()]
    return tuple({case.text: case for case in cases}.values())
