"""Which processes and ports the settings ask for."""

import socket
from pathlib import Path

import pytest

from services.suite.banner import banner
from services.suite.datadir import Embedded, SuiteState, choose_port
from services.suite.nats import add_passwords, configuration
from services.suite.ports import require_free
from services.suite.settings import ListeningPort, SuiteSettings, members
from shared import config
from shared.settings import SettingsError, read
from shared.subjects import PERMISSIONS
from tests.support.ports import free_port


def test_one_of_each_by_default() -> None:
    assert [(m.name, m.probe_port, m.api and m.api.port) for m in members(SuiteSettings())] == [
        ("policy", 4201, None),
        ("moderation", 4301, None),
        ("ledger", 4101, 4100),
        ("edge", 4001, 4000),
    ]


def test_only_this_machine_is_let_in_unless_somebody_says_otherwise() -> None:
    assert {m.name: m.api and m.api.host for m in members(SuiteSettings())} == {
        "policy": None, "moderation": None, "ledger": "127.0.0.1", "edge": "127.0.0.1",
    }  # fmt: skip
    (edge,) = [m for m in members(SuiteSettings(edge_host="0.0.0.0")) if m.name == "edge"]
    assert edge.api is not None and edge.api.host == "0.0.0.0"


def test_replica_n_listens_ten_ports_further() -> None:
    found = {m.name: (m.probe_port, m.api and m.api.port) for m in members(SuiteSettings(replicas="edge=3, policy=2"))}
    assert found["edge-3"] == (4021, 4020)
    assert found["policy-2"] == (4211, None)
    assert "ledger-2" not in found


@pytest.mark.parametrize("text", ["edge", "edge=0", "edge=10", "nats=2", "edge=-1", "edge=2=3", "edge=٣"])
def test_replicas_that_make_no_sense_are_refused_with_their_text(text: str) -> None:
    with pytest.raises(SettingsError, match="TOLLGATE_REPLICAS"):
        members(SuiteSettings(replicas=text))


def test_a_replica_beyond_the_last_port_is_refused() -> None:
    with pytest.raises(SettingsError, match="TOLLGATE_EDGE_PORT"):
        members(SuiteSettings(edge_port=65530, replicas="edge=2"))


@pytest.mark.parametrize(("name", "value"), [("EDGE_PORT", "0"), ("EDGE_PORT", "http"), ("NATS_SYNC", "never")])
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"TOLLGATE_{name}"):
        read(SuiteSettings, {f"TOLLGATE_{name}": value})


def test_a_taken_port_is_a_sentence_with_the_port_and_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} for edge is already in use.*TOLLGATE_EDGE_PORT"):
            require_free([ListeningPort("edge", "0.0.0.0", port, "TOLLGATE_EDGE_PORT")])


def test_a_port_wanted_twice_is_refused_before_anything_listens() -> None:
    port = free_port()
    with pytest.raises(SettingsError, match="TOLLGATE_A or TOLLGATE_B"):
        require_free(
            [ListeningPort("a", "127.0.0.1", port, "TOLLGATE_A"), ListeningPort("b", "127.0.0.1", port, "TOLLGATE_B")]
        )


def test_every_service_has_its_own_user_with_its_row_of_the_table(tmp_path: object) -> None:
    embedded = Embedded(nats_port=4222)
    add_passwords(embedded)
    tree = configuration(embedded, tmp_path, "always")
    homes = {user["user"]: name for name, account in tree["accounts"].items() for user in account["users"]}
    users = {user["user"]: user for account in tree["accounts"].values() for user in account["users"]}
    operators = {"operator": "LEDGER", "operator-control": "POLICY"}
    assert homes == operators | {name: name.upper() for name in PERMISSIONS} | {"edge": "LEDGER"}
    assert len({user["password"] for user in users.values()}) == len(users)
    for service, permissions in PERMISSIONS.items():
        assert users[service]["permissions"]["publish"] == {"allow": permissions.publish}
        assert users[service]["permissions"]["subscribe"] == {"allow": permissions.subscribe}
        assert "allow_responses" not in users[service]["permissions"], "answers go to inboxes, by name"
    assert tree["listen"] == "127.0.0.1:4222"


def test_sync_always_is_the_default_and_can_be_left_to_nats(tmp_path: object) -> None:
    embedded = Embedded(nats_port=4222)
    add_passwords(embedded)
    always = configuration(embedded, tmp_path, SuiteSettings().nats_sync)
    assert always["jetstream"]["sync_interval"] == "always"
    assert "sync_interval" not in configuration(embedded, tmp_path, "default")["jetstream"]


def test_the_brokers_storage_limit_is_not_what_happens_to_be_free(tmp_path: object) -> None:
    embedded = Embedded(nats_port=4222)
    add_passwords(embedded)
    tree = configuration(embedded, tmp_path, "always")
    assert tree["jetstream"]["max_file_store"] >= 2**50


def test_a_second_start_keeps_the_passwords() -> None:
    embedded = Embedded()
    add_passwords(embedded)
    before = dict(embedded.nats_passwords)
    add_passwords(embedded)
    assert embedded.nats_passwords == before


def test_the_banner_shows_the_example_key_and_no_other() -> None:
    state = SuiteState(
        supervisor_pid=1, ready=True, edge_urls=["http://127.0.0.1:4000"], ledger_urls=["http://127.0.0.1:4100"],
        nats_url="nats://operator:hidden-1@127.0.0.1:1", database_url="postgresql://t:hidden-2@127.0.0.1:2/t", processes={},
    )  # fmt: skip
    text = "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k}}]\ngeneral_settings: {master_key: %s}"
    own = banner(state, config.parse(text % "sk-private", {}))
    assert "sk-private" not in own and "hidden" not in own
    example = banner(state, config.parse(text % "sk-1234", {}))
    assert "http://127.0.0.1:4000/ui  (user admin, password: the master key, sk-1234)" in example
    assert "Bearer sk-1234" in example and '"model": "m"' in example and "Change it" in example


def test_a_port_to_remember_is_none_that_connections_are_given() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    taken: set[int] = set()
    ports = [choose_port(0, 0, taken) for _ in range(50)]
    assert len(set(ports)) == 50 and set(ports) == taken
    assert not [port for port in ports if low <= port <= high]
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_the_port_of_last_time_is_kept_unless_somebody_else_has_it() -> None:
    port = free_port()
    assert choose_port(0, port, set()) == port
    assert choose_port(0, port, {port}) != port
    assert choose_port(port, 0, {port}) == port
    with socket.create_server(("127.0.0.1", port)):
        assert choose_port(0, port, set()) != port
