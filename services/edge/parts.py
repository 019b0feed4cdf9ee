"""What is connected once, at start (app.py), and handed to every handler."""

import random
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from services.edge.alerts import Alerts
from services.edge.cache.state import Cache
from services.edge.checks import Checks
from services.edge.clock import Clock
from services.edge.config import EdgeSettings
from services.edge.grants import Grants
from services.edge.group_commit import GroupCommit
from services.edge.images import Images
from services.edge.kept_keys import KeptKeys
from services.edge.own_headers import OwnHeaders
from services.edge.own_hooks import OwnHooks
from services.edge.own_ids import IdRules, OwnIds
from services.edge.pages.shown import ShownSettings
from services.edge.passthrough.named import Named
from services.edge.passthrough.running import Running
from services.edge.providers.base import Credentials, Target
from services.edge.routing.health import Health, RetryBudget
from services.edge.routing.rooms import Rooms
from services.edge.routing.settings import RoutingSettings
from services.edge.site import Site
from services.edge.sizes import Sizes
from services.edge.sso.state import Sso
from services.edge.stored import Sealer, StoredModels
from services.edge.stored.models import Shared
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.tokens import Tokens
from services.edge.upstream import Client, Origin
from shared.addresses import Network
from shared.asker import Signer
from shared.bus import BusClient
from shared.config import ConfigError, Deployment
from shared.guardrails import Enabled
from shared.ids import DeploymentId
from shared.outbound import Outbound
from shared.passthrough import Entries


async def _nothing() -> None:
    pass


def _nobody(deployment: DeploymentId, seconds: float) -> None:
    pass


def no_stored_models() -> StoredModels:
    """Where nobody adds any."""

    def make(deployment: Deployment) -> Target:
        raise ConfigError("models can't be added here")

    return StoredModels(None, Shared(Sealer({}, ""), make), {}, {}, int)


class Parts(msgspec.Struct, kw_only=True):
    settings: EdgeSettings
    edge_id: str
    bus_client: BusClient
    grants: Grants
    customers: Grants
    """Decisions about customers, apart: whoever calls for many of them can't push out those about
    callers.
    """
    recorder: GroupCommit
    payloads: GroupCommit | None = None
    """Of prompts and answers, where they are kept."""
    upstream: Client
    targets: dict[DeploymentId, Target]
    by_chat: set[DeploymentId] = msgspec.field(default_factory=set)
    """Speak OpenAI's wire, and have shown that they have no Responses."""
    adopted: set[DeploymentId] = msgspec.field(default_factory=set)
    """Ids in `targets` that aren't our configuration's (groups.py)."""
    tasks: Tasks
    strangers: Strangers
    """Counts what those without a good key were refused."""
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    """Of an identity provider."""
    shown_settings: ShownSettings = ShownSettings()
    sso: Sso = msgspec.field(default_factory=Sso)
    """Of the admin page."""
    ledger: Origin
    ledger_path: str
    """Before each path of the ledger's HTTP API."""
    passthrough_outbound: Outbound
    sizes: Sizes = Sizes()
    cache: Cache | None = None
    """None: every call goes to a provider."""
    own_ids: OwnIds = msgspec.field(default_factory=lambda: OwnIds(list, float))
    """Of what providers keep for callers."""
    id_rules: IdRules = IdRules()
    running: Running = msgspec.field(default_factory=lambda: Running(None, float))
    """Responses that go on in the background."""
    passthrough: Entries = msgspec.field(default_factory=lambda: Entries([]))
    passthrough_signers: dict[str, Credentials] = msgspec.field(default_factory=dict)
    """An endpoint's id → what proves that its calls are ours, where that isn't a header of its
    own.
    """
    named: Named = msgspec.field(default_factory=lambda: Named(None, None, int))
    """Pass-through endpoints that were made at run time."""
    default_models: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Route → the model that its requests ask which name none."""
    records_customers: bool = True
    """False: the book says of no call whom it was made for (`disable_end_user_cost_tracking`)."""
    tags_clients: bool = False
    """Whether in the book a call's User-Agent is among its tags."""
    metrics_need_key: bool = True
    """Whether `/metrics` on the clients' port asks who asks."""
    site: Site = Site()
    images: Images = msgspec.field(default_factory=lambda: Images(Site(), None))
    checks: Checks = msgspec.field(default_factory=Checks)
    """Of `/health`."""
    call_id_in_errors: bool = False
    """`include_call_id_in_error_body`."""
    alerts: Alerts = msgspec.field(default_factory=lambda: Alerts(None, None, float))
    signer: Signer
    """Of who asks the ledger."""
    stopping: Callable[[], bool]
    """Whether connections should end after their present request."""
    reason_not_ready: Callable[[], str | None]
    """As the probes have it."""
    proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed; none: nobody's."""
    clock: Clock = msgspec.field(default_factory=Clock)
    random: Callable[[], float] = random.random
    """Uniform in [0, 1)."""
    health: Health = msgspec.field(default_factory=Health)
    rooms: Rooms = msgspec.field(default_factory=Rooms)
    """Calls at once of deployments that have a limit of them."""
    budget: RetryBudget = msgspec.field(default_factory=RetryBudget)
    """Of attempts beyond a call's first."""
    forwards_headers: bool = False
    """Whether providers get the client's `x-` headers."""
    forwards_trace: bool = False
    """Whether providers are told whose trace a call belongs to."""
    routing: RoutingSettings = RoutingSettings()
    keys_chosen: bool = True
    """Whether a caller may choose the value of a new key."""
    show_usage: bool = False
    """Whether a stream's usage is shown to those too who didn't ask for it."""
    own_headers: OwnHeaders | None = None
    """Headers of the operator's own that mean something; None: there are none."""
    own_hooks: OwnHooks | None = None
    """Python of the operator's own that is asked before a call; None: there is none."""
    guardrails: list[Enabled] = msgspec.field(default_factory=list)
    """Of this gateway, as far as the configuration says."""
    stored: StoredModels = msgspec.field(default_factory=no_stored_models)
    """Models and credentials that were added by API."""
    left_out: dict[DeploymentId, str] = msgspec.field(default_factory=dict)
    """Deployments that can't be called from here, each with the reason."""
    kept_keys: KeptKeys | None = None
    """None: virtual keys aren't stored in a secret manager."""
    key_refused: Callable[[], Awaitable[None]] = _nothing
    """A provider refused its key: `targets` may have another one afterwards."""
    tell_rest: Callable[[DeploymentId, float], None] = _nobody
    """A deployment rests for so many seconds: tells the other edges."""
