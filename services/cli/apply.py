"""`tollgate apply -f entities.yaml`: organisations, teams, projects, users, customers and keys as a
file says, by ordinary management calls.

    teams:
      - {team_id: eng, team_alias: Engineering, models: [gpt-4o], max_budget: 100}
    customers:
      - {user_id: acme, blocked: false}
    keys:                                  # by alias
      - {key_alias: ci, team_id: eng, duration: 90d, key: os.environ/CI_KEY}
      - {key_alias: batch, team_id: eng}   # gets a new key, which goes into --keys-out, once

It first says what differs, field by field, then makes it so; a second run finds nothing. What the
file doesn't name, be it an entity or a field, is left alone, and nothing is deleted. A key's secret
comes from a reference (`os.environ/NAME`, `vault/...`, `file/...`: docs/identity.md), or is made
here and written into a file that only its owner can read, before the gateway hears of it.

The gateway is --url (or TOLLGATE_URL; http://127.0.0.1:4000); an admin's key comes from
TOLLGATE_KEY or LITELLM_MASTER_KEY, as arguments are seen by every process of the machine.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from shared.secrets import KeyManagement, SecretError, Secrets, references
from shared.settings import SettingsError

FILE_BYTES_MAX = 16 * 1024 * 1024
ENTITIES_MAX = 20_000
TIMEOUT_S = 60
TRIES = 5
SHOWN_MAX = 120


class ApplyError(Exception):
    """Nothing (more) is done; the message says why."""


class Kind(NamedTuple):
    section: str
    name: str
    """Its word in the plan."""
    id: str
    info: str
    """Where one is asked for; `{}` is its id."""
    row: str
    """Where in the answer the row is; empty: it is the answer."""
    new: str
    update: str
    new_only: tuple[str, ...] = ()
    """Fields that only mean something when it is made."""


def _kind(
    section: str, name: str, id: str, info: str, row: str = "", verb: str = "", new_only: tuple[str, ...] = ()
) -> Kind:
    path = f"/{verb or name}"
    return Kind(section, name, id, info + "{}", row, f"{path}/new", f"{path}/update", new_only)


KINDS = (
    _kind("organizations", "organization", "organization_id", "/organization/info?organization_id="),
    _kind("teams", "team", "team_id", "/team/info?team_id=", "team_info"),
    _kind("projects", "project", "project_id", "/project/info?project_id="),
    _kind("users", "user", "user_id", "/v2/user/info?user_id=", new_only=("teams", "organizations", "auto_create_key")),
    _kind("customers", "customer", "user_id", "/customer/info?end_user_id="),
    _kind(
        "keys", "key", "key_alias", "/key/list?return_full_object=true&key_alias=", "keys", new_only=("duration", "key")
    )._replace(new="/key/generate"),
)
"""In this order: each after what it refers to."""


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Gateway:
    """Management calls, over HTTP."""

    def __init__(self, url: str, key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ApplyError("--url must begin with http:// or https://")
        self._url, self._key = url.rstrip("/"), key

    def call(self, path: str, body: Any = None) -> Any:
        """Raises Refused with the gateway's own words, ApplyError where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _words(error.read())) from None
        except (OSError, ValueError) as error:
            raise ApplyError(f"{self._url} doesn't answer as a gateway does: {error}") from None


class Step(NamedTuple):
    """What is to be done about one entity."""

    kind: Kind
    wanted: dict[str, Any]
    before: dict[str, Any] | None
    """The row as it is; None: it isn't there."""
    changes: dict[str, tuple[Any, Any]]
    """Field → (as it is, as it shall be)."""

    @property
    def id(self) -> str:
        return str(self.wanted[self.kind.id])


def command(arguments: list[str], environ: Mapping[str, str] = os.environ) -> int:
    """Exit status: 0 it is so now; 1 something was refused (with --dry-run: something differs); 2
    the file, or the command, is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="tollgate apply", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-f", "--file", required=True)
    parser.add_argument("--url", default=environ.get("TOLLGATE_URL", "http://127.0.0.1:4000"))
    parser.add_argument("--dry-run", action="store_true", help="only say what differs")
    parser.add_argument("--keys-out", default="tollgate-keys.jsonl", help="where new keys go (a file of mode 0600)")
    given = parser.parse_args(arguments)
    try:
        credential = environ.get("TOLLGATE_KEY") or environ.get("LITELLM_MASTER_KEY")
        if not credential:
            raise ApplyError("TOLLGATE_KEY or LITELLM_MASTER_KEY must hold an admin's key")
        wanted = read(Path(given.file))
        gateway = Gateway(given.url, credential)
        steps = [step for kind, entity in wanted if (step := planned(gateway, kind, entity)).changes]
        for step in steps:
            print("\n".join(shown(step)))
        if given.dry_run or not steps:
            print(f"{len(steps)} of {len(wanted)} differ" if steps else "nothing differs")
            return 1 if steps else 0
        raw = asyncio.run(_resolved(steps, environ))
        failed = sum(not _done(gateway, step, raw, Path(given.keys_out)) for step in steps)
    except (ApplyError, Refused, SecretError, SettingsError) as error:
        print(f"tollgate apply: {error}", file=sys.stderr)
        return 2
    print(f"{len(steps) - failed} of {len(steps)} applied" + (f", {failed} refused" if failed else ""))
    return 1 if failed else 0


def read(path: Path) -> list[tuple[Kind, dict[str, Any]]]:
    """The file's entities, in the order of KINDS. Raises ApplyError, with the place."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ApplyError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ApplyError(f"{path}: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ApplyError(f"{path}: no YAML: {str(error)[:300]}") from None
    if not isinstance(found, dict):
        raise ApplyError(f"{path}: must be a mapping of {', '.join(kind.section for kind in KINDS)}")
    unknown = set(found) - {kind.section for kind in KINDS}
    if unknown:
        raise ApplyError(f"{path}: {sorted(map(str, unknown))[0]}: nobody knows this section")
    wanted = []
    for kind in KINDS:
        entries = found.get(kind.section) or []
        if not isinstance(entries, list):
            raise ApplyError(f"{path}: {kind.section} must be a list")
        seen: set[str] = set()
        for number, entity in enumerate(entries):
            place = f"{path}: {kind.section}[{number}]"
            name = entity.get(kind.id) if isinstance(entity, dict) else None
            if not isinstance(name, str) or not name:
                raise ApplyError(f"{place}: must be a mapping with {kind.id}, a string")
            if name in seen:
                raise ApplyError(f"{place}: {kind.id} {name!r} is there twice")
            seen.add(name)
            secret = entity.get("key") if kind.section == "keys" else None
            if secret is not None and (not isinstance(secret, str) or references.parse(secret) is None):
                raise ApplyError(
                    f"{place}: key must be a reference to a secret (os.environ/NAME), never the secret itself"
                )
            wanted.append((kind, entity))
    if len(wanted) > ENTITIES_MAX:
        raise ApplyError(f"{path}: more than {ENTITIES_MAX} entities")
    return wanted


def planned(gateway: Gateway, kind: Kind, wanted: dict[str, Any]) -> Step:
    """Raises Refused, ApplyError."""
    before = _row(gateway, kind, str(wanted[kind.id]))
    if before is None:
        return Step(kind, wanted, None, {name: (None, value) for name, value in wanted.items()})
    return Step(kind, wanted, before, differences(kind, before, wanted))


def differences(kind: Kind, before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Field by field, of those that the file names. Pure."""
    found = {}
    for name, value in wanted.items():
        if name == kind.id or name in kind.new_only:
            continue
        now = before.get(name)
        if now is None and name not in before:
            now = (before.get("metadata") or {}).get(name)  # where tags are kept
        if name == "metadata" and isinstance(now, dict):  # fields of their own are kept there too
            now = {each: held for each, held in now.items() if each not in wanted or each in (value or {})}
        if not _same(now, value):
            found[name] = (now, value)
    return found


def _same(now: Any, wanted: Any) -> bool:
    """None, and nothing, are alike; so are 1 and 1.0; of objects in lists what nobody set doesn't
    count.
    """
    if wanted in (None, [], {}, "") and now in (None, [], {}, "", False):
        return True
    if isinstance(wanted, list) and isinstance(now, list):
        return len(wanted) == len(now) and all(map(_same, now, wanted))
    if isinstance(wanted, dict) and isinstance(now, dict):
        names = {name for name in {**now, **wanted} if now.get(name) is not None or wanted.get(name) is not None}
        return all(_same(now.get(name), wanted.get(name)) for name in names)
    return bool(now == wanted)


def shown(step: Step) -> list[str]:
    """The step for people: `+` is made, `~` is changed."""
    lines = [f"{'+' if step.before is None else '~'} {step.kind.name} {step.id}"]
    for name, (now, wanted) in step.changes.items():
        if name == step.kind.id:
            continue
        text = _short(wanted) if step.before is None else f"{_short(now)} -> {_short(wanted)}"
        lines.append(f"    {name}: {text}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def _row(gateway: Gateway, kind: Kind, name: str) -> dict[str, Any] | None:
    try:
        answer = gateway.call(kind.info.format(urllib.parse.quote(name, safe="")))
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    row = answer.get(kind.row) if kind.row else answer
    if isinstance(row, list):
        row = row[0] if row else None
    return row if isinstance(row, dict) else None


async def _resolved(steps: Sequence[Step], environ: Mapping[str, str]) -> dict[str, str]:
    """Reference → secret, of the keys that are to be made. Raises ApplyError, SecretError."""
    wanted = [step.wanted["key"] for step in steps if step.before is None and step.wanted.get("key")]
    resolver = Secrets(environ, KeyManagement())
    try:
        found = await resolver.resolve_all(wanted)
    finally:
        await resolver.close()
    for reference, secret in found.items():
        if secret is None:
            raise ApplyError(f"{reference}: there is no such secret, or it is empty")
    return {reference: secret.reveal() for reference, secret in found.items() if secret is not None}


def _done(gateway: Gateway, step: Step, raw: Mapping[str, str], keys_out: Path) -> bool:
    """Whether it is so now. What the gateway refuses is said."""
    for attempt in range(1, TRIES + 1):
        try:
            if step.before is None and step.kind.section == "users":
                step = planned(gateway, step.kind, step.wanted)  # a team that names them has made them, say
            if step.before is None:
                gateway.call(step.kind.new, _made(step, raw, keys_out))
                step = planned(gateway, step.kind, step.wanted)  # its maker became a team's admin, say
            if step.changes:
                gateway.call(step.kind.update, _changed(step))
            return True
        except Refused as refused:
            if refused.status == 409 and attempt < TRIES:
                step = planned(gateway, step.kind, step.wanted)  # somebody else was faster
                continue
            print(f"{step.kind.name} {step.id}: refused: {refused}", file=sys.stderr)
            return False
    return False


def _made(step: Step, raw: Mapping[str, str], keys_out: Path) -> dict[str, Any]:
    body = dict(step.wanted)
    if step.kind.section == "users":
        body.setdefault("auto_create_key", False)
    if step.kind.section == "keys":
        reference = body.pop("key", None)
        if reference:
            body["key"] = raw[reference]
        else:
            body["key"] = "sk-" + secrets.token_urlsafe(16)
            _keep(keys_out, step.id, body["key"])
    return body


def _changed(step: Step) -> dict[str, Any]:
    body = {name: wanted for name, (_, wanted) in step.changes.items()}
    assert step.before is not None
    if "metadata" in body:  # it is replaced as a whole, with what is kept in it
        body |= {name: value for name, value in step.wanted.items() if name not in step.kind.new_only}
    if step.kind.section == "keys":
        return {**body, "key": step.before["token"]}
    return {**body, step.kind.id: step.id}


def _keep(path: Path, alias: str, key: str) -> None:
    """On the disk before anybody else knows the key. Raises ApplyError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, json.dumps({"key_alias": alias, "key": key}).encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise ApplyError(f"{path}: a new key can't be kept: {error}") from None


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
