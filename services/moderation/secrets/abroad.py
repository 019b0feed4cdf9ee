"""Words of other languages for passwords and keys, and how they say that one has a value. Lower
case, and capitals where they aren't ASCII.
"""

PASSWORDS = (
    "passwort", "kennwort", "contraseña", "mot de passe", "senha", "пароль", "Пароль", "ПАРОЛЬ", "пароля", "密码", "密碼", "口令", "パスワード",
    "비밀번호", "비번", "wachtwoord", "lösenord", "hasło", "parola", "clave de acceso", "heslo", "salasana", "adgangskode", "passord", "jelszó", "jelszav", "κωδικό", "Κωδικό",
    "รหัสผ่าน", "kata sandi", "كلمة المرور", "كلمة السر", "पासवर्ड", "mật khẩu", "Mật khẩu", "şifre", "Şifre",
    "lozinka", "geslo", "slaptažodis", "parool", "contrasenya", "pasahitza", "lykilorð", "kata laluan", "nenosiri", "парола", "парол", "лозинка",
    "סיסמה", "סיסמא", "رمز عبور", "گذرواژه", "پاس ورڈ", "পাসওয়ার্ড", "கடவுச்சொல்", "暗証番号", "zugangscode", "motdepasse", "contrasena",
)  # fmt: skip
KEYS = (
    "schlüssel", "clé", "jeton", "clave", "chave", "chiave", "klucz", "anahtar", "sleutel", "ключ", "Ключ", "токен", "Токен", "مفتاح",
    "कुंजी", "टोकन", "khóa", "密钥", "密鑰", "金鑰", "令牌", "キー", "トークン", "키", "토큰", "nyckel", "avain",
)  # fmt: skip
VERBS = "ist|lautet|es|est|è|é|är|er|je|jest|este|on|volt|lett|là|هو|هي|это|היא|הוא|είναι"
"""Between spaces."""
JOINTS = "是|为|為|は|은|는"
"""Without any."""
QUOTES = "「|『|“|„|«"
"""Before a value."""
