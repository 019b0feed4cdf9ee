"""The edge's settings: `TOLLGATE_<FIELD>`."""

from typing import Annotated, Literal

import msgspec

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    config: str = "config.example.yaml"
    """LiteLLM's config.yaml: the edge reads the deployments (addresses, secrets) of it."""
    data_dir: str = ".tollgate"
    """The journal lies in `<data_dir>/edge-<port>/`: a restarted edge finds what its predecessor
    left.
    """
    edge_host: str = "0.0.0.0"  # noqa: S104 - clients come from outside, as to LiteLLM
    edge_port: Port = 4000
    edge_reuse_port: bool = False
    """Let several edges listen on one port (SO_REUSEPORT)."""
    edge_tls_cert_file: str = ""
    """PEM, the certificate with its chain: clients speak TLS (1.2 or later), and nothing else. Read
    again when it changes. Empty: plain HTTP."""
    edge_tls_key_file: str = ""
    edge_probe_host: str = "127.0.0.1"
    edge_probe_port: Port = 4001
    ledger_url: str = "http://127.0.0.1:4100"
    edge_name: str = ""
    """Who this edge is among its like, the same after a restart (a StatefulSet's pod name): its
    shard of TRAFFIC follows from it. Empty: host name and port."""

    edge_body_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 25 * 1024 * 1024
    """Of a request body, decompressed."""
    edge_answer_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    """Of an answer that isn't a stream."""
    edge_requests_max: Annotated[int, msgspec.Meta(ge=1)] = 4096
    """Running at once; more get 503. An eighth of them for strangers: whose key was granted nothing
    here lately.
    """
    edge_held_bytes_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of all that clients make this edge hold: heads, bodies, answers they don't read. An eighth of
    it for strangers. 0: a quarter of the container's memory, 64 MB to 1 GB."""
    edge_passthrough_networks: str = ""
    """Private networks that pass-through endpoints made at run time may go to: comma-separated,
    like 10.1.0.0/16.
    """
    edge_model_networks: str = ""
    """Private networks that models added by API may be called in: comma-separated, like
    10.1.0.0/16.
    """
    edge_connections_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of clients; half of them for strangers. 0: 16,384, or a third of the open files this process
    may have.
    """
    edge_connections_per_address_max: Annotated[int, msgspec.Meta(ge=1)] = 1024
    """Of strangers, from one IPv4 address or IPv6 /64."""
    edge_unreadable_files: Literal["pass", "refuse"] = "pass"
    """Files in a guarded request that are neither text nor picture nor sound (PDF ...): no
    guardrail can read them.
    """
    edge_body_timeout_ms: Milliseconds = 60_000
    """For a client to send its body."""
    edge_payload_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 65_536
    """Of a prompt, and of an answer, that is kept or sent to a sink
    (`store_prompts_in_spend_logs`); the rest is cut off.
    """
    edge_drain_ms: Milliseconds = 60_000
    """How long a stopping edge lets running requests go on."""
    edge_drain_idle_ms: Milliseconds = 20_000
    """How long a stopping edge keeps a client's connection that has no request: longer than its
    client keeps it for the next one (aiohttp 15 s, httpx 5 s, nginx 60 s). A request that comes
    meanwhile is answered with `Connection: close`; one that comes as we close is lost."""

    edge_cors_origins: str = "*"
    """Whose pages may read our answers, with commas between them; `*`: anybody's, empty: nobody's.
    Never with credentials.
    """

    edge_grant_ttl_ms: Milliseconds = 60_000
    """How long a grant may be used without asking again; 0: ask each time."""
    edge_grants_max: Annotated[int, msgspec.Meta(ge=1)] = 50_000
    edge_customers_max: Annotated[int, msgspec.Meta(ge=1)] = 50_000
    """Decisions about customers that are kept."""
    edge_requester_ip: Literal["full", "short", "none"] = "full"
    """How much of a client's address goes into the book: all of it, its network (24 bits of IPv4,
    48 of IPv6), or nothing.
    """
    edge_policy_timeout_ms: Milliseconds = 1_000
    edge_admin_timeout_ms: Milliseconds = 5_000
    edge_feed_stale_ms: Milliseconds = 3_000
    """When nothing was heard from the control feed for so long, policy is asked each time."""

    edge_publish_timeout_ms: Milliseconds = 1_000
    """For the broker to acknowledge; then the facts go to the journal."""
    edge_journal_bytes_max: Annotated[int, msgspec.Meta(ge=0)] = 256 * 1024 * 1024
    """0: no journal; with the broker away new requests then get 503."""
    edge_settle_wait_ms: Milliseconds = 15_000
    """How long a client waits for the end of its call to be recorded before its connection is
    cut.
    """
    edge_expiry_slack_ms: Milliseconds = 30_000
    """Added to a call's own deadline before the ledger may close it as expired."""
