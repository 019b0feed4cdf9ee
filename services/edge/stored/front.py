"""The parts of this package, connected: read from configuration and environment once, at start."""

from collections.abc import Callable, Mapping

import msgspec

from services.edge.config import EdgeSettings
from services.edge.providers import table
from services.edge.providers.base import Target
from services.edge.routing.settings import with_defaults
from services.edge.series import SERIES
from services.edge.stored.models import Shared, StoredModels
from services.edge.stored.sealer import Sealer
from shared.bus import BusClient
from shared.config import Config, Deployment
from shared.config.references import Lookup
from shared.ids import DeploymentId
from shared.outbound import Guard, guard_of

Connect = Callable[[BusClient, Callable[[], int]], StoredModels]
"""(bus, the CONTROL sequence this edge knows of)."""


def build(
    conf: EdgeSettings,
    config: Config,
    environ: Mapping[str, str],
    user_agent: str,
    targets: dict[DeploymentId, Target],
    left_out: dict[DeploymentId, str],
) -> Connect:
    """Raises SettingsError."""
    listed = guard_of(conf.edge_model_networks, "TOLLGATE_EDGE_MODEL_NETWORKS", offline=config.general.offline)
    guard = None if config.stored_models.trusted else listed

    def read(config: Config, environ: Mapping[str, str]) -> Shared:
        def make(deployment: Deployment) -> Target:
            (made,) = table.build([*with_defaults([deployment], config)], user_agent, config.litellm, environ).values()
            return guarded(made, guard)

        waiting = {str(each.id): each for each in config.left_out if each.credential and each.id}
        salt = config.general.litellm_salt_key
        own = {"LITELLM_SALT_KEY": salt.reveal()} if salt else {}
        sealer = Sealer({**own, **environ}, conf.data_dir)
        return Shared(sealer, make, config.stored_models, config.credentials, waiting, Lookup(environ))

    def named(model: str) -> None:
        if model not in SERIES.models:
            SERIES.models |= {model}

    shared = read(config, environ)
    return lambda client, seen_seq: StoredModels(client, shared, targets, left_out, seen_seq, named, read)


def guarded(target: Target, guard: Guard | None) -> Target:
    """It isn't called at addresses that the guard doesn't permit, whatever its name resolves to
    then.
    """
    if guard is None or target.origin is None:
        return target
    return msgspec.structs.replace(target, origin=msgspec.structs.replace(target.origin, guard=guard))
