# ruff: noqa: E501 - one case a line
"""What looks like a credential and is none: hashes, ids, placeholders, lock files, pictures, code,
sentences.
"""

import base64
import hashlib
import json
import random
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.moderation.apart.prose import CODE, PARAGRAPHS, SENTENCES
from tests.moderation.apart.tokens import ALNUM, HEX, LOWER, take


@dataclass(frozen=True)
class Innocent:
    """A text that must come out as it went in."""

    kind: str
    text: str

    @property
    def shown(self) -> bool:
        """As for the planted: the half that may be looked at."""
        return hashlib.sha256(f"{self.kind}/{self.text}".encode()).digest()[0] % 2 == 0


def digest(rng: random.Random, algorithm: str) -> str:
    return hashlib.new(algorithm, rng.randbytes(20)).hexdigest()


HASHED = (
    ("sha1", "commit {}\nAuthor: Ada <ada@example.com>\nDate: Mon Mar 2 2026"),
    ("sha1", "git checkout {} && make"),
    ("sha1", "git revert --no-edit {}"),
    ("sha1", 'uses: "actions/checkout@{}"'),
    ("sha1", '  "gitHead": "{}",'),
    ("sha1", "index {}..0000000 100644"),
    ("sha1", "{}  refs/heads/main"),
    ("sha1", "Merge commit '{}' into release"),
    ("sha256", "image: app@sha256:{}"),
    ("sha256", "sha256sum: {}  app.tar.gz"),
    ("sha256", 'hash = "sha256:{}"'),
    ("sha256", "{}  ./dist/app.whl"),
    ("sha256", '"digest": "sha256:{}",\n"size": 1024'),
    ("sha256", "    --hash=sha256:{}"),
    ("sha256", 'checksum = "{}"'),
    ("sha256", "the block hash is 0x{}"),
    ("md5", 'ETag: "{}"'),
    ("md5", "MD5 ({}.iso) matches"),
    ("md5", 'md5: "{}"'),
    ("md5", "/assets/main.{}.js"),
    ("md5", "trace_id={} span_id=00f067aa0ba902b7 level=info"),
    ("md5", "traceparent: 00-{}-00f067aa0ba902b7-01"),
    ("md5", "https://www.gravatar.com/avatar/{}?s=80"),
    ("sha512", "sha512:{}"),
    ("sha1", 'revision: "{}"'),
    ("sha1", "cache-key: node-modules-{}"),
    ("sha256", 'content_hash="{}"'),
    ("sha256", "fingerprint: {}"),
)


def hashes() -> Iterator[Innocent]:
    rng = random.Random("apart hashes")
    for algorithm, place in HASHED:
        for _ in range(2):
            yield Innocent(f"{algorithm} digest", place.format(digest(rng, algorithm)))


IDS = (
    "request_id={}", '{{"id": "{}"}}', "user {} not found", "GET /v1/orders/{} 404", "DELETE FROM carts WHERE id = '{}';", "urn:uuid:{}",
    'correlationId: "{}"', "session {} expired after 30 minutes", "const deviceId = '{}';", "<item id=\"{}\">",
    "primary_key: {}", "tenant_id: {}", "https://app.example.com/projects/{}/edit", "volume pvc-{} bound", "ns=7;s={}",
    "idempotency-key: {}", "foreign_key = '{}'", "key_id: {}", "partition_key = \"{}\"", "x-request-id: {}",
)  # fmt: skip


def ids() -> Iterator[Innocent]:
    rng = random.Random("apart ids")
    for place in IDS:
        for _ in range(2):
            yield Innocent("uuid", place.format(uuid.UUID(int=rng.getrandbits(128), version=4)))
    for place in ('_id: ObjectId("{}")', '{{"$oid": "{}"}}', "doc {} updated"):
        yield Innocent("object id", place.format(take(HEX, 24)(rng)))
    for place in ("pod/web-{}-{} Running", "kubectl logs api-{}-{} -n prod", "Created pod: worker-{}-{}"):
        yield Innocent("pod", place.format(take(HEX, 10)(rng), take(LOWER, 5)(rng)))
    for place in ("chatcmpl-{}", '"id": "call_{}"', "msg_{}", "run_{} finished", "file-{}", "resp_{}", "toolu_{}"):
        yield Innocent("object of an API", place.format(take(ALNUM, 24)(rng)))
    for text in ("arn:aws:iam::123456789012:role/deploy-role", "arn:aws:s3:::my-bucket-2026/logs/*", "i-0a1b2c3d4e5f67890 is running",
                 "vpc-0f1e2d3c4b5a69788", "projects/my-project-431207/secrets/db-password/versions/3", "DE89 3704 0044 0532 0130 00",
                 "ISBN 978-3-16-148410-0", "+49 89 636 48018", "4111 1111 1111 1111 is the test card", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                 "192.168.178.41:8080", "fe80::1ff:fe23:4567:890a", "00:1A:2B:3C:4D:5E", "2026-03-02T10:22:33.123456+00:00"):  # fmt: skip
        yield Innocent("number of something", text)


PLACEHOLDERS = (
    "YOUR_API_KEY", "<your-api-key>", "your-api-key-here", "xxxxxxxxxxxxxxxxxxxx", "****************", "...", "${API_KEY}", "$API_KEY",
    "{{ api_key }}", "%API_KEY%", "changeme", "REPLACE_ME", "<token>", "[REDACTED]", "null", "None", "true", "example", "TODO", "os.environ/API_KEY",
    "<insert key>", "sk-...", "sk-xxxx", "your_token", "{api_key}", "********", "••••••••",
)  # fmt: skip

PLACEHOLDER_PLACES = (
    "API_KEY={}",
    'api_key: "{}"',
    '{{"password": "{}"}}',
    "export TOKEN={}",
    "client = Client(api_key='{}')",
    "Authorization: Bearer {}",
)


def placeholders() -> Iterator[Innocent]:
    for number, placeholder in enumerate(PLACEHOLDERS):
        for step in (0, 1, 3):
            place = PLACEHOLDER_PLACES[(number + step) % len(PLACEHOLDER_PLACES)]
            yield Innocent("placeholder", place.format(placeholder))


REFERENCES = (
    'api_key = os.environ["OPENAI_API_KEY"]', "const token = process.env.GITHUB_TOKEN;", 'key := os.Getenv("AWS_SECRET_ACCESS_KEY")',
    "password: ${{ secrets.DB_PASSWORD }}", "apiKey: config.get('apiKey'),", "token = request.headers.get('Authorization')",
    "password = getpass.getpass('Password: ')", "secret = vault.read('secret/data/app')", "valueFrom:\n  secretKeyRef:\n    name: db\n    key: password",
    'password: { type: "string", minLength: 8 }', '{"password": {"type": "string", "description": "The password of the user"}}',
    "token: str | None = None", "def login(username: str, password: str) -> Token:", "self.api_key = api_key", "password=password, token=token",
    "api_key=settings.api_key", "export AWS_PROFILE=production", "secretName: tls-certificate", "imagePullSecrets:\n- name: regcred",
    "auth: false\nsecret: false", "token_type: bearer", "max_tokens: 4096", "tokens_per_second: 38.2", "tokenizer: bert-base-uncased",
    "prompt_tokens=1523 completion_tokens=98", "password_field = 'password'", "PASSWORD_MIN_LENGTH = 12", "password_hash_algorithm: argon2id",
    "token_url: https://auth.example.com/oauth/token", "secrets_manager: vault", "api_key_header: X-API-Key", "password reset e-mail sent to ada@example.com",
    "primary_key=True, unique=True", "sort_key: created_at", "key: value", "keyboard: qwerty", "monkey: capuchin", "author: Ada Lovelace",
    "passenger: Kurt Goedel", "compass: north", "bypass=true", "passed: 132, failed: 0", "public_key: ssh-ed25519", "key_type: rsa-2048",
    "<input type=\"password\" name=\"password\" placeholder=\"Your password\">", "<label for=\"password\">Password</label>", '"password": "Passwort vergessen?"',
    '"password": "Password"', '"forgot_password": "Forgot your password?"', '"token": "Jeton"', '"password_too_short": "The password is too short"',
    "if password == confirm_password:", "password != old_password", "assert token is not None", "token = next(tokens)", "password = input()",
    "@property\ndef secret(self): return self._secret", "raise ValueError('password must not be empty')", "token = tokens[0].strip()",
    "secret = Secret.from_reference(reference)", "const { password } = req.body;", "password: z.string().min(8),", "passwordRef={passwordInput}",
    "client_secret_post", "grant_type=client_credentials", "response_type=token&scope=openid", "kubectl get secret db -o yaml", "vault kv get secret/app",
    "aws secretsmanager get-secret-value --secret-id prod/db", "gh auth token", "gh secret set DEPLOY_KEY < key.pem", "openssl rand -hex 32",
    "ssh-keygen -t ed25519 -C ada@example.com", "token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)", 'TOKEN="$(gcloud auth print-access-token)"',
    "PASSWORD=`pwgen 20 1`", "read -s PASSWORD", "unset AWS_SECRET_ACCESS_KEY", "DB_PASSWORD_FILE=/run/secrets/db_password", "key_file: /etc/ssl/private/server.key",
    "KEY_PATH=~/.ssh/id_ed25519", "password = var.db_password", "secret_id = aws_secretsmanager_secret.db.id", "token = data.vault_token.this",
    "password: !Ref DatabasePassword", "password: !vault |", "password: '{{ vault_db_password }}'", "password = <%= ENV['DB_PASSWORD'] %>",
    "api_key = Rails.application.credentials.api_key", "api_key: Application.get_env(:app, :key)", "let token = std::env::var(\"TOKEN\")?;",
    "String password = System.getenv(\"PASSWORD\");", "var apiKey = builder.Configuration[\"ApiKey\"];", "$apiKey = getenv('API_KEY');", "apiKey = import.meta.env.VITE_API_KEY",
    "What is the difference between an API key and an access token?", "My password does not work any more, what can I do?", "The password is case sensitive.",
    "The secret is to keep the dough cold.", "my secret is chocolate", "The key is under the mat.", "The token is invalid or expired", "Password: required, at least 12 characters",
    "api key: required", "The password should be changed every 90 days.", "password is wrong", "Token: a short-lived credential", "Your API key is missing.",
    "secret: the name of the secret in the vault", "access token: see the documentation", "Passwort: mindestens zwölf Zeichen", "密码：必填", "mot de passe : obligatoire",
    "https://example.com/reset?lang=de&step=2", "https://user@example.com/repo.git", "git@github.com:team/repo.git", "postgres://localhost:5432/app", "redis://cache:6379/0",
    "postgresql://${DB_USER}:${DB_PASSWORD}@db/app", "mongodb://<username>:<password>@host/db", "https://user:password@example.com is an example of basic auth",
    "mailto:ada@example.com", "http://[::1]:8080/health", "nats://127.0.0.1:4222", "s3://bucket/key/with/many/parts/2026/03/02/part-0001.parquet",
)  # fmt: skip


def references() -> Iterator[Innocent]:
    for text in REFERENCES:
        yield Innocent("reference", text)


def files() -> Iterator[Innocent]:
    rng = random.Random("apart files")
    for number in range(10):
        integrity = base64.b64encode(rng.randbytes(64)).decode()
        name = rng.choice(["left-pad", "react-dom", "@babel/core", "tokenize", "keyv", "passport", "secrets-helper"])
        version = f"{rng.randrange(9)}.{rng.randrange(20)}.{rng.randrange(9)}"
        npm = {"node_modules/" + name: {"version": version, "integrity": "sha512-" + integrity, "license": "MIT"}}
        yield Innocent("package-lock", json.dumps(npm, indent=2))
        yield Innocent("yarn.lock", f'"{name}@^{version}":\n  version "{version}"\n  integrity sha512-{integrity}\n')
        yield Innocent(
            "go.sum",
            f"github.com/example/{name.strip('@')} v{version} h1:{base64.b64encode(rng.randbytes(32)).decode()}",
        )
        yield Innocent(
            "Cargo.lock", f'[[package]]\nname = "tokio"\nversion = "{version}"\nchecksum = "{digest(rng, "sha256")}"\n'
        )
        yield Innocent(
            "poetry.lock", f'    {{file = "keyring-{version}.tar.gz", hash = "sha256:{digest(rng, "sha256")}"}},'
        )
        picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(300 + 40 * number)).decode()
        yield Innocent("picture", f"![logo](data:image/png;base64,{picture})")
        yield Innocent("picture", f'<img src="data:image/jpeg;base64,{picture}" alt="x">')
        certificate = "\n".join(textwrap.wrap(base64.b64encode(rng.randbytes(700)).decode(), 64))
        yield Innocent("certificate", f"-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----")
        public = "\n".join(textwrap.wrap(base64.b64encode(rng.randbytes(270)).decode(), 64))
        yield Innocent("public key", f"-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----")
        yield Innocent(
            "public key",
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{base64.b64encode(rng.randbytes(31)).decode().rstrip('=')} ada@laptop",
        )
        font = base64.b64encode(rng.randbytes(240)).decode()
        yield Innocent("font", f"@font-face{{src:url(data:font/woff2;base64,{font}) format('woff2')}}")
        path = " ".join(f"{rng.choice('MLCQ')}{rng.random() * 99:.3f},{rng.random() * 99:.3f}" for _ in range(20))
        yield Innocent("svg", f'<path d="{path}" fill="#{take(HEX, 6)(rng)}"/>')
        vector = ", ".join(f"{rng.gauss(0, 1):.8f}" for _ in range(24))
        yield Innocent("vector", f'{{"embedding": [{vector}], "index": {number}}}')
        dump = "\n".join(f"{i * 16:08x}  {rng.randbytes(8).hex(' ')}  {rng.randbytes(8).hex(' ')}" for i in range(6))
        yield Innocent("hex dump", dump)
        table = "\n".join(
            f"{rng.randrange(10**6)},{rng.choice(['ada', 'kurt'])},{rng.random() * 1000:.2f},2026-0{rng.randrange(1, 9)}-11"
            for _ in range(8)
        )
        yield Innocent("csv", f"id,owner,amount,day\n{table}")
        source = base64.b64encode(
            json.dumps({"version": 3, "sources": [f"src/{number}.ts"], "mappings": "AAAA,SAAS"}).encode()
        ).decode()
        yield Innocent("source map", f"//# sourceMappingURL=data:application/json;base64,{source}")


def minified() -> Iterator[Innocent]:
    rng = random.Random("apart minified")
    pieces = (
        "function {a}({b}){{return {b}&&{b}.__esModule?{b}:{{default:{b}}}}}", "var {a}=function(){{return this.{b}.key}};", "{a}.token={b}.next();",
        "if({a}.password!=={b}.password)return!1;", "e.exports={{key:{a},secret:{b}}};", "const {a}=(0,{b}.useState)(\"\");", "{a}?.auth?.{b}(n,t,r);",
        "for(var {a}=0;{a}<{b}.length;{a}++)r+={b}[{a}];", "Object.defineProperty({a},\"key\",{{value:{b}}});", "return{{passwordField:{a},tokenType:\"{b}\"}};",
    )  # fmt: skip
    for _ in range(40):
        text = "".join(
            piece.format(a=rng.choice(ALNUM[:52]), b=take(ALNUM, 2)(rng)) for piece in rng.choices(pieces, k=6)
        )
        yield Innocent("minified", "!" + text)


def words() -> Iterator[Innocent]:
    for language, paragraphs in PARAGRAPHS.items():
        for paragraph in paragraphs:
            yield Innocent(f"prose {language}", paragraph)
    for sentence in SENTENCES:
        yield Innocent("sentence", sentence)
    for code in CODE:
        yield Innocent("code", code)


@cache
def innocent() -> tuple[Innocent, ...]:
    """All of them, each text once."""
    cases = [*hashes(), *ids(), *placeholders(), *references(), *files(), *minified(), *words()]
    return tuple({case.text: case for case in cases}.values())
