"""The suite as a process: real NATS and PostgreSQL, stubs for the services."""

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import nats
import nats.errors
import pytest
import pytest_asyncio

from tests.suite.conftest import made_in
from tests.support.suite import MOCK_CONFIG, RunningSuite, SuiteFailed


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        await asyncio.sleep(0.02)


def given(suite: RunningSuite, kind: str) -> dict[str, str]:
    """The settings a stub was started with."""
    file = next(suite.data_dir.glob(f"given-{kind}-*.json"))
    found: dict[str, str] = json.loads(file.read_text())
    return found


async def write_something(suite: RunningSuite) -> None:
    client = await nats.connect(suite.nats_url)
    stream = client.jetstream()
    await stream.add_stream(name="TRAFFIC", subjects=["traffic.>"])
    await stream.publish("traffic.0", b"kept")
    await client.close()
    database = await asyncpg.connect(suite.database_url)
    await database.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    await database.close()


async def write_something_more(suite: RunningSuite) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client = await nats.connect(suite.nats_url, allow_reconnect=False, connect_timeout=1)
            await client.jetstream().publish("traffic.0", bytes(8192))
            return await client.close()
        except (nats.errors.Error, OSError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def read_it_again(suite: RunningSuite) -> tuple[bytes | None, int]:
    client = await nats.connect(suite.nats_url)
    message = await client.jetstream().get_last_msg("TRAFFIC", "traffic.0")
    await client.close()
    database = await asyncpg.connect(suite.database_url)
    number: int = await database.fetchval("SELECT n FROM kept")
    await database.close()
    return message.data, number


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    """Something is written in it. For who looks at it, or has one of its children killed."""
    directory = tmp_path_factory.mktemp("standing")
    async with RunningSuite(directory, root=made_in(directory), env={"TOLLGATE_DATABASE_URL": ""}) as suite:
        await write_something(suite)
        yield suite


async def test_a_second_start_keeps_data_ports_and_passwords(stub_tree: Path, tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        await write_something(suite)
        urls = suite.nats_url, suite.database_url
        assert await suite.stop() == 0
        await suite.start()
        assert (suite.nats_url, suite.database_url) == urls
        assert await read_it_again(suite) == (b"kept", 7)


async def test_a_port_is_remembered_unless_somebody_else_took_it(stub_tree: Path, tmp_path: Path) -> None:
    env = {"TOLLGATE_NATS_PORT": "", "TOLLGATE_POSTGRES_PORT": ""}
    async with RunningSuite(tmp_path, root=stub_tree, env=env) as suite:
        first = suite.nats_url
        await suite.stop()
        await suite.start()
        assert suite.nats_url == first
        await suite.stop()
        with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
            await suite.start()
            assert suite.nats_url != first


async def test_each_service_is_told_its_own_user_and_only_the_ledger_the_database(standing: RunningSuite) -> None:
    for kind in ("policy", "moderation", "ledger", "edge"):
        told = given(standing, kind)
        assert told["TOLLGATE_NATS_URL"].startswith(f"nats://{kind}:")
        assert told.get("TOLLGATE_DATABASE_URL") == (standing.database_url if kind == "ledger" else None)
    assert given(standing, "edge")["TOLLGATE_LEDGER_URL"] == standing.ledger_url


async def test_a_service_can_do_on_the_bus_what_its_row_says_and_no_more(standing: RunningSuite) -> None:
    operator = await nats.connect(standing.state()["nats_control_url"])
    stream = operator.jetstream()
    await stream.add_stream(name="CONTROL", subjects=["control.>"])
    refusals: list[Exception] = []

    async def refused(error: Exception) -> None:
        refusals.append(error)

    edge = await nats.connect(
        given(standing, "edge")["TOLLGATE_NATS_URL"], error_cb=refused, inbox_prefix=b"_INBOX_edge"
    )
    await edge.publish("control.key.stolen", b"x")
    await edge.publish("traffic.1", b"x")
    await edge.flush()
    await until(lambda: len(refusals) == 1)
    assert "control.key.stolen" in str(refusals[0]).lower()
    assert (await stream.stream_info("CONTROL")).state.messages == 0
    await edge.close()
    with pytest.raises(nats.errors.Error):
        await nats.connect(
            standing.nats_url.replace("operator:", "operator:x"), max_reconnect_attempts=0, allow_reconnect=False
        )
    await operator.close()


async def test_nobody_else_can_read_what_holds_a_password(standing: RunningSuite) -> None:
    for name in ("embedded.json", "suite.json", "nats.json"):
        assert stat.S_IMODE((standing.data_dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(standing.data_dir.stat().st_mode) == 0o700
    loose = [path for path in standing.data_dir.rglob("*") if path.stat().st_mode & 0o077]
    assert loose == []
    passwords = [url.split(":")[2].split("@")[0] for url in (standing.nats_url, standing.database_url)]
    assert not [password for password in passwords if password in standing.log()]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(standing.database_url.replace(passwords[1], "wrong"))


@pytest.mark.parametrize("variable", ["TOLLGATE_EDGE_PORT", "TOLLGATE_LEDGER_PORT", "TOLLGATE_NATS_PORT"])
async def test_a_taken_port_is_a_sentence_and_exit_2(stub_tree: Path, tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        suite = RunningSuite(tmp_path, root=stub_tree, env={variable: str(port)})
        with pytest.raises(SuiteFailed, match=r"exit status 2"):
            await suite.__aenter__()
    last = suite.log().splitlines()[-1]
    assert str(port) in last and variable in last and last.startswith("tollgate: ")
    assert "Traceback" not in suite.log()
    assert suite.processes() == []


@pytest.mark.parametrize(
    "text",
    ["model_list: 3", "a: [", "general_settings: {master_key: os.environ/NOT_SET_ANYWHERE}", "general_settings: {}"],
)
async def test_a_wrong_configuration_is_a_sentence_and_exit_2(stub_tree: Path, tmp_path: Path, text: str) -> None:
    suite = RunningSuite(tmp_path, text, root=stub_tree)
    with pytest.raises(SuiteFailed, match="exit status 2"):
        await suite.__aenter__()
    assert "Traceback" not in suite.log()
    assert suite.log().splitlines()[-1].startswith("tollgate: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
async def test_the_key_of_every_example_is_only_for_this_machine(stub_tree: Path, tmp_path: Path, host: str) -> None:
    suite = RunningSuite(
        tmp_path, "general_settings: {master_key: sk-1234}", root=stub_tree, env={"TOLLGATE_EDGE_HOST": host}
    )
    if host == "127.0.0.1":
        async with suite:
            return
    with pytest.raises(SuiteFailed, match="exit status 2"):
        await suite.__aenter__()
    assert "the master key is weak" in suite.log().splitlines()[-1]
    assert suite.processes() == []


async def test_two_suites_on_one_data_directory_is_a_sentence_and_exit_2(
    standing: RunningSuite, stub_tree: Path, tmp_path: Path
) -> None:
    second = RunningSuite(tmp_path, root=stub_tree, env={"TOLLGATE_DATA_DIR": str(standing.data_dir)})
    with pytest.raises(SuiteFailed, match="exit status 2"):
        await second.__aenter__()
    assert "another Tollgate" in second.log() and "TOLLGATE_DATA_DIR" in second.log()
    assert standing.process.poll() is None and all(standing.pids.values())


@pytest.mark.parametrize("name", ["edge", "ledger", "nats", "postgres"])
async def test_a_killed_child_is_started_again_with_its_data(standing: RunningSuite, name: str) -> None:
    others = {other: pid for other, pid in standing.pids.items() if other != name}
    old = standing.kill(name)
    assert await standing.restarted(name, old, 10) != old
    assert standing.state()["processes"][name]["restarts"] >= 1
    assert {other: standing.pids[other] for other in others} == others
    for _ in range(100):  # a database recovers before it answers
        try:
            assert await read_it_again(standing) == (b"kept", 7)
            break
        except (OSError, asyncpg.PostgresError, nats.errors.Error):
            await asyncio.sleep(0.1)
    else:
        pytest.fail("the data never came back")


async def test_a_broker_that_could_not_write_is_restarted_and_takes_messages_again(
    stub_tree: Path, tmp_path: Path
) -> None:
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        await write_something(suite)
        pid = suite.pids["nats"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, 4096))  # as a full disk: the write fails
        client = await nats.connect(suite.nats_url)
        with pytest.raises(nats.errors.TimeoutError):
            await client.jetstream(timeout=0.5).publish("traffic.0", bytes(8192))
        await client.close()
        await suite.restarted("nats", pid, 15)
        assert await read_it_again(suite) == (b"kept", 7)
        await write_something_more(suite)


async def test_a_child_that_keeps_dying_is_restarted_ever_more_slowly(stub_tree: Path, tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        (stub_tree / "services/policy/__main__.py").write_text("raise SystemExit(1)")
        suite.kill("policy")
        await asyncio.sleep(3)
        restarts = suite.state()["processes"]["policy"]["restarts"]
        assert 3 <= restarts <= 7  # 0.1, 0.2, 0.4, 0.8, 1.6 s
        assert suite.process.poll() is None
        assert await suite.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_is_clean_and_in_the_reverse_order(stub_tree: Path, tmp_path: Path, number: int) -> None:
    async with RunningSuite(tmp_path, root=stub_tree, replicas="edge=2,policy=2") as suite:
        assert len(suite.edge_urls) == 2 and "policy-2" in suite.pids
        assert await suite.stop(number) == 0
        assert suite.processes() == []
    stops = [line.split() for line in (suite.data_dir / "stopped").read_text().splitlines()]
    assert [kind for kind, _ in stops][:2] == ["edge", "edge"] and len(stops) == 6
    # PostgreSQL removes its pid file only when it stopped in order.
    assert not (suite.data_dir / "postgres/postmaster.pid").exists()


async def test_a_killed_supervisor_leaves_no_process_behind_and_can_start_again_at_once(
    stub_tree: Path, tmp_path: Path
) -> None:
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        await write_something(suite)
        assert len(suite.processes()) > 6
        suite.process.kill()
        await suite.wait(5)
        await until(lambda: suite.processes() == [], 15)
        await suite.start()
        suite.process.kill()
        await suite.wait(5)
        await suite.start()  # while the servers of the killed one may still be ending
        assert await read_it_again(suite) == (b"kept", 7)


async def test_ctrl_c_on_a_terminal_reaches_the_supervisor_alone(stub_tree: Path, tmp_path: Path) -> None:
    """A terminal interrupts the whole foreground group; the children must still be stopped in
    order, not all at once.
    """
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        os.killpg(suite.process.pid, signal.SIGINT)
        assert await suite.wait(20) == 0
    assert '"event":"died"' not in suite.log()
    assert (suite.data_dir / "stopped").read_text().startswith("edge ")


async def test_a_pid_file_left_by_a_crash_is_no_obstacle(stub_tree: Path, tmp_path: Path) -> None:
    """After a reboot the pid in it may be another program's: PostgreSQL by itself would then refuse
    to start.
    """
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        await write_something(suite)
        await suite.stop()
        (suite.data_dir / "postgres/postmaster.pid").write_text(f"{os.getpid()}\n{suite.data_dir}/postgres\n1\n1\n\n\n")
        await suite.start()
        assert await read_it_again(suite) == (b"kept", 7)


async def test_a_service_that_refuses_its_settings_stops_the_start_with_exit_2(stub_tree: Path, tmp_path: Path) -> None:
    suite = RunningSuite(tmp_path, root=stub_tree, env={"STUB_LEDGER": "refuse"})
    with pytest.raises(SuiteFailed, match="exit status 2"):
        await suite.__aenter__()
    assert "ledger refused to start" in suite.log()
    assert suite.processes() == []


async def test_a_service_that_crashes_at_its_start_is_named_and_exit_1(stub_tree: Path, tmp_path: Path) -> None:
    suite = RunningSuite(tmp_path, root=stub_tree, env={"STUB_POLICY": "crash"})
    with pytest.raises(SuiteFailed, match="exit status 1"):
        await suite.__aenter__()
    assert "policy ended 3 times while starting (status 1)" in suite.log()
    assert suite.processes() == []


async def test_a_second_interrupt_kills_what_does_not_stop(stub_tree: Path, tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, root=stub_tree, env={"STUB_EDGE": "stuck"}) as suite:
        os.kill(suite.process.pid, signal.SIGINT)
        await asyncio.sleep(0.15)
        os.kill(suite.process.pid, signal.SIGINT)  # an echo, not a second wish
        await asyncio.sleep(0.7)
        assert suite.process.poll() is None
        os.kill(suite.process.pid, signal.SIGINT)
        assert await suite.wait(10) == 1
        assert suite.processes() == []


async def test_a_stop_while_starting_is_clean(stub_tree: Path, tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, root=stub_tree) as suite:
        await suite.stop()
        for pause_s in (0.05, 0.3, 0.5, 0.7):
            suite.spawn()
            await asyncio.sleep(pause_s)
            await suite.stop()
            assert suite.processes() == []


async def test_servers_of_ones_own_are_used_and_none_started(stub_tree: Path, tmp_path: Path) -> None:
    async with RunningSuite(tmp_path / "a", root=stub_tree) as servers:
        env = {"TOLLGATE_NATS_URL": servers.nats_url}
        config = f"{MOCK_CONFIG}  database_url: {servers.database_url}\n"
        async with RunningSuite(tmp_path / "b", config, root=stub_tree, env=env) as suite:
            assert set(suite.pids) == {"policy", "moderation", "ledger", "edge"}
            assert suite.database_url == servers.database_url
            assert given(suite, "policy")["TOLLGATE_NATS_URL"] == servers.nats_url
            assert "TOLLGATE_DATABASE_URL" not in given(suite, "ledger"), "it finds the file's by itself"
            assert not (suite.data_dir / "postgres").exists()


async def test_where_user_namespaces_are_off_root_becomes_nobody(stub_tree: Path, tmp_path: Path) -> None:
    """`unshare` that fails stands for a system without user namespaces."""
    if os.geteuid() != 0:
        pytest.skip("only root needs another account")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (folder / "unshare").chmod(0o755)
    for path in (tmp_path, *tmp_path.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "TOLLGATE_DATABASE_URL": ""}
    async with RunningSuite(tmp_path, root=stub_tree, env=env) as suite:
        assert (suite.data_dir / "postgres").stat().st_uid != 0
        await write_something(suite)
        assert await suite.stop() == 0
        await suite.start()
        assert await read_it_again(suite) == (b"kept", 7)
