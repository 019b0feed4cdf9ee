"""Logins of least privilege: who writes can add and not change, who reads can only read, who keeps
terms can only call retention's functions.

An operator gives them: TOLLGATE_DATABASE_URL is the writer's then, beside
TOLLGATE_DATABASE_OWNER_URL, ..._READER_URL and ..._KEEPER_URL. With one URL alone, its user owns
the book, and the ledger makes the others at its start, if it may: `tollgate_writer_<database>` and
so on. Their passwords follow from the owner's (scrypt), so that every ledger knows them and none
has to keep them; the owner's login then serves the start only.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

from services.ledger.database import DATABASE_ERRORS, ROLE, SQL, Connection

log = structlog.get_logger()

PURPOSES = ("writer", "reader", "keeper")
NAME_BYTES_MAX = 63
ITERATIONS = 4096
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class Login(NamedTuple):
    user: str
    password: str | None


def name(purpose: str, database: str) -> str:
    """Of a login. Roles belong to the whole server, so the database is in the name."""
    whole = f"tollgate_{purpose}_{database}"
    if len(whole.encode()) <= NAME_BYTES_MAX:
        return whole
    return f"tollgate_{purpose}_{hashlib.sha256(database.encode()).hexdigest()[:24]}"


def derived(secret: str | None, user: str) -> str | None:
    """The password of a login that we make; None where the owner needs none either."""
    if not secret:
        return None
    raw = hashlib.scrypt(secret.encode(), salt=f"tollgate login {user}".encode(), dklen=24, **_SCRYPT)
    return base64.urlsafe_b64encode(raw).decode()


def secret_of(url: str, environ: Mapping[str, str]) -> str | None:
    """The owner's password, where it is known."""
    found = urlsplit(url).password
    return unquote(found) if found else environ.get("PGPASSWORD") or None


def verifier(password: str, user: str) -> str:
    """SCRAM-SHA-256, as the server keeps it: the password itself is in no statement and no log."""
    salt = hashlib.sha256(f"tollgate salt {user}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


async def make(connection: Connection, wanted: Mapping[str, Login]) -> None:
    """The logins and their rights, as the owner, in a transaction. Raises
    InsufficientPrivilegeError.
    """
    database = str(await connection.fetchval("SELECT current_database()"))
    for login in wanted.values():
        attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
        secret = f" PASSWORD '{verifier(login.password, login.user)}'" if login.password else ""
        known = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login.user)
        if known:
            await connection.execute(f"ALTER ROLE {quoted(login.user)} LOGIN{secret}")
        else:
            await connection.execute(f"CREATE ROLE {quoted(login.user)} {attributes}{secret}")
        await connection.execute(f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(login.user)}")


async def grant(connection: Connection, users: Mapping[str, str]) -> None:
    """What each may do: purpose → user. Repeatable."""
    texts = {
        "writer": ("grants.sql", ROLE),
        "reader": ("grants_reader.sql", "@READER@"),
        "keeper": ("grants_keeper.sql", "@KEEPER@"),
    }
    for purpose, user in users.items():
        file, placeholder = texts[purpose]
        await connection.execute((SQL / file).read_text("utf-8").replace(placeholder, quoted(user)))


async def too_strong(connection: Connection, users: Mapping[str, str]) -> list[str]:
    """Purposes whose login may do what it shouldn't: a superuser, or one that is (or may become)
    the book's owner.
    """
    query = """
        SELECT r.rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER') FROM pg_roles r, pg_class c
        WHERE r.rolname = $1 AND c.oid = 'tollgate.request_log'::regclass
        """
    return [purpose for purpose, user in users.items() if await connection.fetchval(query, user)]


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


async def works(url: str, login: Login) -> str | None:
    """None where one can connect as it; else why not (a pooler that doesn't know it, pg_hba.conf,
    certificates).
    """
    try:
        connection = await asyncpg.connect(url, user=login.user, password=login.password, timeout=3)
    except DATABASE_ERRORS as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    await connection.close(timeout=2)
    return None
