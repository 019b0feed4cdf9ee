# ruff: noqa: E501 - one case a line
"""Sentences, paragraphs in eight languages, and code without any credential in them."""

PARAGRAPHS: dict[str, tuple[str, ...]] = {
    "English": (
        "The committee met on Tuesday to discuss the passage of the bill. Its secretary kept the minutes; the key point was money.",
        "To reset a password, open the settings page, choose Security, and follow the link in the e-mail. The token in it is valid for an hour.",
        "Keyboards, monkeys and turkeys have keys in common only in spelling: a token of how silly a word list can be.",
        "She passed the exam at 9:30, took bus 42 to terminal 3, gate B17, and was in Lisbon by 14:05.",
        "Please summarise the following incident: the API returned 401 because the credential had expired; nobody noticed for 3 days.",
    ),
    "German": (
        "Das Passwort muss mindestens zwölf Zeichen haben. Der Schlüssel liegt unter der Matte, das Geheimnis bleibt geheim.",
        "Bitte erstelle eine Zusammenfassung: Rechnung Nr. 2026-00481, Kundennummer K-99812, fällig am 14.03.2026, Betrag 1.299,00 €.",
        "Donaudampfschifffahrtsgesellschaftskapitän ist ein langes Wort, Schlüsselübergabe ein kürzeres.",
    ),
    "French": (
        "Le mot de passe doit contenir huit caractères. La clé est sous le paillasson, et le secret est bien gardé.",
        "Résumez ce courriel : la facture n° 4471-B du 12/02/2026 reste impayée malgré trois relances.",
        "L'authentification échoue quand le jeton a expiré ; il suffit de se reconnecter.",
    ),
    "Spanish": (
        "La contraseña debe tener ocho caracteres. La clave está debajo del felpudo y el secreto está bien guardado.",
        "Resume este correo: el pedido 88-1203 salió el 3 de marzo y llegará en 48 horas.",
        "El token caducó, así que el usuario tuvo que iniciar sesión otra vez.",
    ),
    "Italian": (
        "La password deve avere almeno otto caratteri. La chiave è sotto lo zerbino.",
        "Riassumi: l'ordine n. 12/2026 è stato spedito il 4 marzo con corriere espresso.",
    ),
    "Portuguese": (
        "A senha deve ter pelo menos oito caracteres. A chave está debaixo do tapete e o segredo está guardado.",
        "Resuma: o pedido 7731 foi enviado no dia 5 de março e chega em 3 dias úteis.",
    ),
    "Russian": (
        "Пароль должен содержать не менее восьми символов. Ключ лежит под ковриком, секрет остаётся секретом.",
        "Сделай краткое изложение: заказ № 5512 отправлен 3 марта и прибудет через два дня.",
    ),
    "Chinese": (
        "密码必须至少包含八个字符。钥匙在垫子下面,秘密要保守好。",
        "请总结一下:订单号 20260302-118 已于三月三日发货,预计两天后到达。",
        "访问令牌已过期,请重新登录。API 密钥请在设置页面中生成。",
    ),
    "Japanese": (
        "パスワードは8文字以上で入力してください。鍵はマットの下にあります。",
        "トークンの有効期限が切れました。もう一度ログインしてください。",
    ),
    "Arabic": ("يجب أن تتكون كلمة المرور من ثمانية أحرف على الأقل. المفتاح تحت السجادة.",),
    "Turkish": ("Parola en az sekiz karakter olmalıdır. Anahtar paspasın altında.",),
}

SENTENCES: tuple[str, ...] = tuple(
    f"{subject} {rest}"
    for subject in (
        "The password",
        "Our API key",
        "A secret",
        "The token",
        "The private key",
        "This credential",
        "Their passphrase",
        "The access key",
    )
    for rest in (
        "is stored in the vault, not in the repository.",
        "was rotated yesterday by the platform team.",
        "expires in 90 days; see the runbook for what to do.",
        "is required to call the endpoint.",
        "must never be sent by e-mail.",
        "isn't part of this example.",
        "= what the server compares, and it never leaves it.",
        "is: unknown to me, sorry.",
    )
)

CODE: tuple[str, ...] = (
    "def key(self) -> str:\n    return f'{self.tenant}:{self.name}'\n",
    "SELECT key, value FROM settings WHERE key = 'theme' ORDER BY updated_at DESC LIMIT 20;",
    "CREATE TABLE users (id BIGINT PRIMARY KEY, password_hash TEXT NOT NULL, token_version INT DEFAULT 0);",
    "for key, value in sorted(mapping.items(), key=lambda item: item[1]):\n    print(key, value)",
    "const sorted = items.sort((a, b) => a.key.localeCompare(b.key));",
    "export function useToken(): [string | null, (token: string) => void] {\n  return useState<string | null>(null);\n}",
    'type Credentials struct {\n\tUsername string `json:"username"`\n\tPassword string `json:"password"`\n}',
    "interface Login { username: string; password: string; rememberMe?: boolean }",
    "class Token(BaseModel):\n    access_token: str\n    token_type: str = 'bearer'\n    expires_in: int = 3600\n",
    '#define KEY_LENGTH 32\n#define TOKEN_MAX 4096\nstatic const char *key_name = "primary";',
    'impl fmt::Debug for Secret {\n    fn fmt(&self, f: &mut Formatter) -> Result { f.write_str("Secret(***)") }\n}',
    "public record LoginRequest(string Username, string Password, string? Token = null);",
    'resource "aws_secretsmanager_secret" "db" {\n  name = "prod/db/password"\n  recovery_window_in_days = 7\n}',
    "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: web\n    env:\n    - name: DB_PASSWORD\n      valueFrom:\n        secretKeyRef:\n          name: db\n          key: password",
    "server {\n  listen 443 ssl;\n  ssl_certificate /etc/ssl/certs/site.crt;\n  ssl_certificate_key /etc/ssl/private/site.key;\n}",
    "with open('tokens.txt') as handle:\n    tokens = [line.split() for line in handle]\n    vocabulary = set(chain.from_iterable(tokens))",
    "tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased')\ninputs = tokenizer(text, max_length=512, truncation=True)",
    "model = OpenAI(model='gpt-4o-mini', temperature=0.2, max_tokens=256)",
    "import secrets\ntoken = secrets.token_urlsafe(32)\npassword = secrets.token_hex(16)",
    "hash = hashlib.pbkdf2_hmac('sha256', password.encode(), salt, 600_000)",
    "const hash = await bcrypt.hash(password, 12);\nawait User.create({ email, password: hash });",
    "jwt.encode(claims, key, algorithm='RS256', headers={'kid': kid})",
    "assert response.json()['token']\nassert 'password' not in response.text",
    "it('rejects a wrong password', async () => {\n  await expect(login(user, wrongPassword)).rejects.toThrow();\n});",
    '<form method="post"><input name="csrf_token" type="hidden" value="{{ csrf_token() }}"></form>',
    ".password-field { color: #1f2937; } .token--active { background: rgba(0, 0, 0, .04); }",
    "switch (event.key) { case 'Enter': submit(); break; case 'Escape': close(); break; }",
    "<Route key={route.path} path={route.path} element={<Page token={token} />} />",
    "awk -F: '{ print $1 }' /etc/passwd | sort | uniq -c",
    "find . -name '*.key' -o -name '*.pem' | xargs ls -l",
    "ssh -i ~/.ssh/id_rsa deploy@10.0.0.4 'systemctl restart app'",
    'curl -sS -H "Authorization: Bearer $TOKEN" https://api.example.com/v1/me',
    'curl -u "$USER:$PASSWORD" https://example.com/private',
    "docker login -u robot --password-stdin registry.example.com < token.txt",
    'psql "host=db user=app dbname=app sslmode=require"',
    "pip install keyring==25.6.0 passlib==1.7.4 tokenizers==0.21.1 secretstorage==3.3.3",
    "npm install jsonwebtoken@9.0.2 passport-local@1.0.0 --save",
    "2026-03-02T10:22:33Z INFO auth: token refreshed for user=ada scope=read expires_in=3600",
    "2026-03-02T10:22:34Z WARN auth: password check failed for user=kurt attempts=3 ip=10.1.2.3",
    "Traceback (most recent call last):\n  File \"app.py\", line 12, in <module>\n    token = os.environ['TOKEN']\nKeyError: 'TOKEN'",
    'HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Bearer realm="api", error="invalid_token"',
    '{"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}}',
    '{"name": "login", "parameters": {"type": "object", "properties": {"password": {"type": "string"}}, "required": ["password"]}}',
    '{"keys": [{"kty": "RSA", "use": "sig", "kid": "2026-01", "e": "AQAB"}]}',
    "openapi: 3.1.0\ncomponents:\n  securitySchemes:\n    apiKey:\n      type: apiKey\n      name: X-API-Key\n      in: header",
    "keys = ['id', 'name', 'created_at']; values = [1, 'Ada', '2026-03-02']",
    "const KEYS = Object.freeze({ ENTER: 'Enter', ESC: 'Escape', SPACE: ' ' });",
    "passwords.map(p => p.length).reduce((a, b) => Math.max(a, b), 0)",
    "git log --format='%H %an %s' | grep -i token",
    "if (!apiKey) throw new Error('API key is required. Set OPENAI_API_KEY in your environment.');",
)
