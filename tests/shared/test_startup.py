"""A service resolves the references it needs, from whoever keeps them; the log is as environment
and file say.
"""

import asyncio
import json
from pathlib import Path

import pytest

from shared import logging, startup
from shared.config import ConfigError
from shared.config.references import Lookup, Unset, collect, first_unset, resolve

ENVIRON = {"A": "1", "HOST": "h", "EMPTY": ""}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("os.environ/A", "1"), ("os.environ/EMPTY", Unset("EMPTY")), ("os.environ/NO", Unset("NO")), ("Bearer os.environ/A", "Bearer 1"),
        ("${A}", "1"), ("http://${HOST}:${A}/v1", "http://h:1/v1"), ("${NO:-x}", "x"), ("${EMPTY:-x}", "x"), ("${NO-x}", "x"),
        ("${NO:-}", ""), ("${NO}", Unset("NO")), ("a$b", "a$b"), ("$A", "$A"), ("${a b}", "${a b}"), ("xos.environ/A", "xos.environ/A"),
        (["os.environ/A", {"k": "${HOST}"}, 3, None], ["1", {"k": "h"}, 3, None]),
    ],
)  # fmt: skip
def test_references_are_put_in(value: object, expected: object) -> None:
    assert resolve(value, Lookup(ENVIRON)) == expected


def test_a_manager_is_named_only_where_a_secret_is_meant() -> None:
    tree = {
        "api_key": "vault/groq",
        "model": "vault/groq",
        "file": "file/x",
        "headers": {"X-Api-Key": "aws_secret/k"},
        "n": "os.environ/N",
    }
    assert sorted(collect(tree)) == ["aws_secret/k", "os.environ/N", "vault/groq"]
    found = resolve(tree, Lookup({}, {"vault/groq": "sk-groq", "os.environ/N": None}))
    assert found["api_key"] == "sk-groq" and found["model"] == "vault/groq" and found["file"] == "file/x"
    assert str(first_unset(found["headers"])) == "the secret aws_secret/k is not set, or empty"
    assert first_unset(found["n"]) == Unset("N")


CONFIG = """
model_list:
- {model_name: m, litellm_params: {model: openai/m, api_key: file/%s/provider}}
- {model_name: gone, litellm_params: {model: openai/m, api_key: file/%s/nowhere}}
general_settings: {master_key: os.environ/MASTER, database_url: file/%s/database}
"""


@pytest.mark.parametrize(
    "text",
    [
        "general_settings: {infer_model_from_keys: true}",
        'model_list: [{model_name: "*", litellm_params: {model: "*"}}]',
    ],
)
async def test_keys_of_whom_callers_name_are_resolved(text: str, tmp_path: Path) -> None:
    (tmp_path / "groq").write_text("sk-groq")
    (file := tmp_path / "c.yaml").write_text(text)
    environ = {"TOLLGATE_SECRET_FILE_DIRS": str(tmp_path), "GROQ_API_KEY": f"file/{tmp_path}/groq"}
    edge, _ = await startup.configuration(str(file), environ, "edge")
    (groq,) = edge.deployments
    assert groq.api_key is not None and groq.api_key.reveal() == "sk-groq"


async def test_each_service_resolves_its_own(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("sk-provider\n")
    (tmp_path / "database").write_text("postgresql://u:p@h/d")
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG.replace("%s", str(tmp_path)))
    directories = {"TOLLGATE_SECRET_FILE_DIRS": str(tmp_path)}
    edge, _ = await startup.configuration(str(file), directories, "edge")
    assert [d.api_key.reveal() for d in edge.deployments if d.api_key] == ["sk-provider"]
    assert edge.database_url is None and edge.master_key is None
    (left,) = edge.left_out
    assert "the secret file/" in left.reason and left.model_name == "gone"
    policy, _ = await startup.configuration(str(file), {**directories, "MASTER": "sk-master-key"}, "policy")
    assert policy.master_key is not None and [d.api_key for d in policy.deployments] == [None, None]
    ledger, _ = await startup.configuration(str(file), directories, "ledger")
    assert ledger.database_url is not None and ledger.database_url.reveal() == "postgresql://u:p@h/d"
    with pytest.raises(ConfigError, match="master_key: the environment variable MASTER is not set"):
        await startup.configuration(str(file), directories, "policy")


async def test_what_changed_is_in_force_before_the_next_who_is_refused_is_told_that_it_was_asked(
    tmp_path: Path,
) -> None:
    (tmp_path / "provider").write_text("sk-old-provider")
    (tmp_path / "database").write_text("postgresql://u:p@h/d")
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG.replace("%s", str(tmp_path)))
    source = await startup.Source.open(str(file), {"TOLLGATE_SECRET_FILE_DIRS": str(tmp_path)}, "edge")
    put: list[tuple[list[str], bool]] = []

    def put_into_force() -> None:
        put.append(([d.api_key.reveal() for d in source.config.deployments if d.api_key], source.may_ask))

    source.on_change = put_into_force
    assert not await source.refresh() and put == []
    source._asked_at = float("-inf")
    (tmp_path / "provider").write_text("sk-new-provider")
    assert [*await asyncio.gather(source.refused(), source.refused())] == [True, True]
    assert put == [(["sk-new-provider"], True)], "once, and while whoever comes still waits"
    assert not source.may_ask and not await source.refused()
    await source.close()


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_log_goes_where_and_looks_as_it_is_told(tmp_path: Path) -> None:
    import structlog

    try:
        said = tmp_path / "json.log"
        logging.configure("test", {"TOLLGATE_LOG_FILE": str(said), "LITELLM_LOG": "ERROR"})
        structlog.get_logger().warning("quiet")
        structlog.get_logger().error("loud", n=1)
        assert [line["event"] for line in lines(said)] == ["loud"] and lines(said)[0]["service"] == "test"
        console = tmp_path / "console.log"
        logging.configure("test", {"TOLLGATE_LOG_FILE": str(console), "TOLLGATE_LOG_FORMAT": "console"})
        structlog.get_logger().info("for_people", n=1)
        assert "for_people" in console.read_text() and not console.read_text().startswith("{")
        debug = tmp_path / "debug.log"
        logging.configure("test", {"TOLLGATE_LOG_FILE": str(debug), "TOLLGATE_DETAILED_DEBUG": "true"})
        structlog.get_logger().debug("seen")
        assert logging.detailed() and [line["event"] for line in lines(debug)] == ["detailed_debug_is_on", "seen"]
    finally:
        logging.configure("tests", {})
        structlog.reset_defaults()
        logging._service = ""
    assert not logging.detailed()


def test_a_shown_credential_is_masked() -> None:
    shown = logging.masked(
        {"authorization": "Bearer gsk_mySVchjY0123456789", "x-api-key": "short", "content-type": "application/json"}
    )
    assert shown["authorization"] == "Bearer gsk_" + "*" * 16
    assert "hort" not in shown["x-api-key"] and shown["content-type"] == "application/json"
