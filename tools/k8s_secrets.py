"""`make k8s-secrets`: every Secret that the manifests name, with fresh values, into
deploy/k8s/secrets/secrets.yaml (git-ignored, 0600).

Run again, it keeps the values that are there and adds what is missing: a password that changes
locks the services out of what they made. Options are environment variables: TLS=1 (URLs and
certificates for components/tls), DATABASE_URL (a PostgreSQL of your own), NAMESPACE.
"""

import base64
import datetime
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared import broker
from shared.subjects import PERMISSIONS

DIRECTORY = Path(__file__).resolve().parent.parent / "deploy" / "k8s" / "secrets"
TLS_DAYS = 3650
SERVERS = 3
"""Of components/nats-cluster."""
NATS_NAMES = ["nats", "nats.tollgate", "nats.tollgate.svc", *(f"nats-{n}.nats" for n in range(SERVERS)), "localhost"]

Values = dict[str, dict[str, str]]
"""Secret -> key -> value."""


def password() -> str:
    """192 bits; begins with a letter, so that NATS reads it as a string, and needs no quoting in a
    URL.
    """
    return "p" + secrets.token_hex(24)


def values(known: Values, *, tls: bool, database_url: str) -> Values:
    """All there must be; what is in `known` stays, except what follows from the options."""
    made: Values = {
        "tollgate-nats": {user: password() for user in broker.USERS},
        "tollgate-postgres": {"password": password()},
        "tollgate-master-key": {"master-key": "sk-" + secrets.token_hex(24)},
        "tollgate-sealing-key": {"salt-key": secrets.token_urlsafe(32)},
    }
    if tls and "tollgate-tls" not in known:
        made["tollgate-tls"] = certificates()
    merged = {name: {**made.get(name, {}), **known.get(name, {})} for name in {**made, **known}}
    nats, scheme = merged["tollgate-nats"], "tls" if tls else "nats"
    # Of a cluster (TLS needs one) each server by its name: behind the Service's one name a server
    # that hangs may be met again and again.
    hosts = [f"nats-{n}.nats" for n in range(SERVERS)] if tls else ["nats"]
    for service in PERMISSIONS:
        urls = [f"{scheme}://{service}:{nats[service]}@{host}:4222" for host in hosts]
        merged.setdefault(f"tollgate-{service}", {})["nats-url"] = ",".join(urls)
    own = f"postgresql://tollgate:{merged['tollgate-postgres']['password']}@postgres:5432/tollgate"
    kept = merged["tollgate-ledger"].get("database-url", "")
    merged["tollgate-ledger"]["database-url"] = database_url or kept or own
    # Signs the book's checkpoints: Ed25519, the same for every ledger.
    merged["tollgate-ledger"].setdefault("checkpoint-key", base64.b64encode(secrets.token_bytes(32)).decode())
    return merged


def certificates() -> dict[str, str]:
    """An authority for this installation alone, and one certificate for the brokers. PEM."""
    now = datetime.datetime.now(datetime.UTC)

    def builder(name: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=TLS_DAYS))
        )

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = (
        builder("tollgate", "tollgate", authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NATS_NAMES])
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        builder("nats", "tollgate", server.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(usages, critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "ca.crt": ca.public_bytes(pem).decode(),
        "tls.crt": certificate.public_bytes(pem).decode(),
        "tls.key": private.decode(),
    }


def manifests(made: Values, namespace: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "tollgate"}},
            "type": "Opaque",
            "stringData": made[name],
        }
        for name in sorted(made)
    ]


def read(path: Path) -> Values:
    if not path.exists():
        return {}
    listed = json.loads(path.read_text().partition("\n")[2])
    return {item["metadata"]["name"]: item["stringData"] for item in listed["items"]}


def compose() -> int:
    """`make compose-secrets`: the same values as variables, into deploy/compose/.env; what is there
    stays, what is missing is added.
    """
    path = DIRECTORY.parent.parent / "compose" / ".env"
    there = path.read_text() if path.exists() else ""
    known = {line.partition("=")[0] for line in there.splitlines()}
    missing = [f"{name}={value}\n" for name, value in variables().items() if name not in known]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
        file.write(("\n" if there and not there.endswith("\n") else "") + "".join(missing))
    print(f"{path}: {len(missing)} variables added, {len(known)} were there", file=sys.stderr)
    return 0


def variables() -> dict[str, str]:
    """What compose.yaml asks for."""
    made = values({}, tls=False, database_url="")
    nats = {f"NATS_{user.upper().replace('-', '_')}_PASSWORD": secret for user, secret in made["tollgate-nats"].items()}
    return {
        **nats,
        "POSTGRES_PASSWORD": made["tollgate-postgres"]["password"],
        "LITELLM_MASTER_KEY": made["tollgate-master-key"]["master-key"],
        "LITELLM_SALT_KEY": made["tollgate-sealing-key"]["salt-key"],
        "CHECKPOINT_KEY": made["tollgate-ledger"]["checkpoint-key"],
    }


def main() -> int:
    if sys.argv[1:] == ["compose"]:
        return compose()
    path = DIRECTORY / "secrets.yaml"
    known = read(path)
    made = values(
        known, tls=os.environ.get("TLS", "") not in ("", "0"), database_url=os.environ.get("DATABASE_URL", "")
    )
    listed = {"apiVersion": "v1", "kind": "List", "items": manifests(made, os.environ.get("NAMESPACE", "tollgate"))}
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(
            "# Made by `make k8s-secrets`. JSON, which is YAML. Keep it as you keep passwords; it is in no repository.\n"
        )
        json.dump(listed, file, indent=2)
    fresh.replace(path)
    print(
        f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}: {len(made)} Secrets",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
