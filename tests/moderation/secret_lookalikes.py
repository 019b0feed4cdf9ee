"""Look-alikes of secrets, written without a look at the rules. Seeded: `lookalikes()` gives (type,
text) in which nothing is secret.
"""

import base64
import json
import random

from tests.moderation.secret_corpus import ALNUM, B64, DIGITS, HEX, LOWER, Make, guid, joined, of

PROSE = [
    "The secret to good bread is patience; the key to success was never a password but a token of trust.",
    "Passwords are hashed with bcrypt, tokens expire after 15 minutes, and secrets rotate every 90 days.",
    "Der Schlüssel zum Erfolg ist Geduld. Das Passwort: bitte niemandem verraten! Das Geheimnis ist gelüftet.",
    "La clé de la réussite est la patience. Le mot de passe : ne le dites à personne. Le secret est bien gardé.",
    "La clave del éxito es la paciencia. La contraseña: nunca la compartas. El secreto está a salvo en 2024.",
    "A senha é pessoal e intransferível; o segredo do sucesso é a paciência, versão 3.2.1 do documento.",
    "Секрет успеха в терпении. Пароль: никому не говорите. Ключ под ковриком с 12.05.2023.",
    "成功的秘诀是耐心。密码：不要告诉任何人。令牌将在2024年12月31日过期。",
    "成功の鍵は忍耐です。パスワード：誰にも教えないでください。トークンの有効期限は30日です。",
    "The token is valid for 3600 seconds, the key has 2048 bits, and the secret is out since 2019.",
    "API key management: create, rotate and revoke keys; see section 4.2.1 of the handbook.",
    "My password is too long to remember, so the password manager keeps it; the secret is that I never type it.",
]


CODE = [
    'arn:aws:secretsmanager:eu-west-1:015029916122:secret:prod/db-password-4bPXqJ',
    'password: {{ .Values.db.password | b64enc | quote }}',
    '--key-color: #273e28; --token-bg: #972f1a9d;',
    'key "session:6242326f-269d-4f4f-a1c9-432675131906" not found',
    'key: linux-node-629d1933477cacfda62414bc7c822155cd2add86ee2907de08ce55ba42478a55',
    'password: SecretStr\ntoken: str | None = None',
    '密码是什么？我忘记了。token是用来认证的JWT格式数据',
    "page.fill('#password', 'wrong password')",
    '<key>CFBundleIdentifier</key>\n<string>com.acme.TokenApp2</string>',
    'What is the token?\nbob: it-is-in-the-wiki-page-about-deployments',
    'passwords: 1204 checked, 3 weak',
    "hmac.new(b'key', b'msg', 'sha256')",
    'echo $TOKEN | docker login --password-stdin',
    "token_algorithm = 'AWS4-HMAC-SHA256'",
    "extra_headers = {'anthropic-beta': 'mcp-tunnels-2026-06-22'}",
    "SIGNATURE_KIND = b'sk-ssh-ed25519@openssh.com'",
    'https://idp.example.org/oauth2/v1/token is the token endpoint2',
    'requirepass $REDIS_PASSWORD',
    'net user administrator /active:yes',
    'clé publique : voir la documentation, chapitre 12',
    "password = getpass.getpass('Password: ')", "token = request.headers.get('X-Auth-Token')", "api_key = os.environ['OPENAI_API_KEY']",
    "apiKey: process.env.API_KEY,", "const secret = await vault.read('secret/data/app1');", "self._token = token or self.refresh_token()",
    "if password != user.password_hash: raise AuthError('bad password for user1')", "password: ${{ secrets.DB_PASSWORD }}",
    "password: {{ .Values.db.password }}", "API_KEY=os.environ/OPENAI_API_KEY", "secretKeyRef:\n  name: db-credentials-v2\n  key: password1",
    "def get_api_key(key_id: str, token_type: str = 'bearer') -> str:", "token_count = len(tokenizer.encode(text))", "max_tokens=4096",
    "keys = sorted(d.keys(), key=lambda k: k.name)", "primary_key = 'customer_id_2024'", "cache_key = f'user:{user_id}:v2'",
    "public_key = load_pem('id_rsa.pub')", "<input type=\"password\" name=\"password\" autocomplete=\"current-password\">",
    "type Token struct {\n\tAccessToken string `json:\"access_token\"`\n\tExpiresIn int `json:\"expires_in\"`\n}",
    "export interface Credentials { username: string; password: string; apiKey?: string }", "assert key == b'key1' and value == b'value1'",
    "SELECT password_hash, token_expires_at FROM users WHERE api_key_id = $1", "password = 'password'", "API_KEY=your-api-key-here",
    "api_key: \"<YOUR_API_KEY>\"", "token: xxxxxxxxxxxxxxxxxxxx", "SECRET_KEY = 'changeme'", "password: ********",
    "Authorization: Bearer <token>", "curl -H 'Authorization: Bearer $TOKEN' https://api.example.org", "postgres://user:password@localhost:5432/db",
    "https://user:pass@example.com/", "keyCode === 13 || event.key === 'Enter2'", "KEY_PREFIX = 'app_v1_cache'", "tokenEndpoint: 'https://login.example.org/oauth2/v2.0/token'",
    "private_key_path = '/etc/ssl/private/server1.key'", "ssh_key_file: ~/.ssh/id_ed25519", "secret_name = 'prod/db/main-2'",
    "password_policy: {min_length: 12, require_digit: true}", "kms_key_arn = 'arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab'",
    "print('-----BEGIN RSA PRIVATE KEY-----' in text)", "pattern = r'AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}'", "sk-learn and scikit-learn 1.4.2",
    "hash = hashlib.sha256(password.encode()).hexdigest()", "token := jwt.New(jwt.SigningMethodHS256)", "next_page_token: 'page2'",
    "pass  # noqa: S105", "passed = 12; failed = 3; bypass = True; passes=4", "pin: 4", "monkey = Monkey(banana='b4n4n4')",
    "session.get('https://api.example.org/v1/items/42?page=3')", "session_id = 'sess_local_test'", "author = 'Ann Example <ann@example.org>'",
]  # fmt: skip


def lookalikes(seed: int = 11) -> list[tuple[str, str]]:
    """At least 600."""
    r = random.Random(seed)
    found: list[tuple[str, str]] = [("prose", text) for text in PROSE] + [("code", text) for text in CODE]

    def add(kind: str, count: int, make: Make) -> None:
        found.extend((kind, make(r)) for _ in range(count))

    add("git", 30, joined("commit ", of(HEX, 40), "\nAuthor: Ann <ann@example.org>\nDate: Mon Jan 1 10:00:00 2024"))
    add("git", 20, joined("index ", of(HEX, 7), "..", of(HEX, 7), " 100644\n--- a/key.py\n+++ b/key.py"))
    add("sha256", 30, joined("sha256:", of(HEX, 64)))
    add("sha256", 20, joined('"checksum": "', of(HEX, 64), '"'))
    add("md5", 20, joined(of(HEX, 32), "  release-1.2.3.tar.gz"))
    add("etag", 15, joined('ETag: "', of(HEX, 32), '"\nLast-Modified: Mon, 01 Jan 2024 10:00:00 GMT'))
    add("uuid", 30, joined('{"id": "', guid, '", "status": "done"}'))
    add("uuid", 20, joined("request_id=", guid, " took 12 ms"))
    add("uuid", 15, joined("trace ", of(HEX, 32), " span ", of(HEX, 16)))
    add(
        "npm lock",
        40,
        joined('"integrity": "sha512-', of(B64, 86), '==",\n"resolved": "https://npm.example.com/x/-/x-1.2.3.tgz"'),
    )
    add(
        "pip lock",
        40,
        joined("aiohttp==3.9.1 \\\n    --hash=sha256:", of(HEX, 64), " \\\n    --hash=sha256:", of(HEX, 64)),
    )
    add("cargo lock", 20, joined('name = "serde"\nversion = "1.0.193"\nchecksum = "', of(HEX, 64), '"'))
    add(
        "go sum",
        20,
        joined("github.com/x/y v1.2.3 h1:", of(B64, 43), "=\ngithub.com/x/y v1.2.3/go.mod h1:", of(B64, 43), "="),
    )
    add("image", 30, joined("![x](data:image/png;base64,iVBORw0KGgo", of(B64, 400), "==)"))
    add("font", 10, joined("src: url(data:font/woff2;base64,d09GMgABAAAAA", of(B64, 300), ")"))
    add(
        "certificate",
        15,
        joined("-----BEGIN CERTIFICATE-----\n", of(B64, 64), "\n", of(B64, 64), "\n-----END CERTIFICATE-----"),
    )
    add("public key", 15, joined("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", of(B64, 43), " ann@laptop"))
    add("public key", 10, joined("-----BEGIN PUBLIC KEY-----\n", of(B64, 64), "\n-----END PUBLIC KEY-----"))
    add("docker", 15, joined("FROM python@sha256:", of(HEX, 64), "\nRUN pip install x"))
    add(
        "minified",
        25,
        joined(
            "!function(e,t){var n=e.key||t,r=n.token;for(var i=0;i<",
            of(DIGITS, 2),
            ";i++)o[i]=r.",
            of(LOWER, 2),
            "(n[i]);e.",
            of(LOWER, 3),
            "=o}(this,0);",
        ),
    )
    add(
        "numbers", 20, joined("card ending in ", of(DIGITS, 4), ", order ", of(DIGITS, 9), ", total 12.", of(DIGITS, 2))
    )
    add("paths", 20, joined("/var/lib/docker/overlay2/", of(HEX, 64), "/merged/etc/passwd"))
    add("urls", 20, joined("https://cdn.example.org/assets/app.", of(HEX, 8), ".js?v=", of(HEX, 12)))
    add("ids", 20, joined("call_", of(ALNUM, 24), " chatcmpl-", of(ALNUM, 29)))
    add("colours", 10, joined("color: #", of(HEX, 6), "; background: #", of(HEX, 6)))
    add("hex dump", 10, joined("0000  ", of(HEX, 2), " ", of(HEX, 2), " ", of(HEX, 2), " ", of(HEX, 2), "  ...."))
    add("ethereum", 10, joined("tx 0x", of(HEX, 64), " from 0x", of(HEX, 40)))
    add(
        "versions",
        10,
        joined("v1.", of(DIGITS, 1), ".", of(DIGITS, 2), "-rc.", of(DIGITS, 1), "+build.", of(DIGITS, 4)),
    )
    add("base64 text", 15, lambda r: "payload: " + base64.b64encode(f"hello world {r.random()}".encode()).decode())
    add(
        "cursor",
        10,
        lambda r: "next_cursor: " + base64.b64encode(json.dumps({"id": r.randrange(10**6)}).encode()).decode(),
    )
    add("nonce", 10, joined('<script nonce="', of(B64, 22), '==">'))
    return found
