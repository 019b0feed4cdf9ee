"""What was added by API, ready to be called: asked of policy at start, and each again when it
changed.

A grant names a candidate with the sequence at which it last changed. `ready` waits until this edge
is as far: so a model that was just added, changed or given another key is called as it now is by
the first call that is decided by it, on every edge.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from services.edge.providers.base import Target
from services.edge.stored.sealer import Sealer
from shared import bus, subjects
from shared.bus import BusClient, BusError
from shared.config import Config, ConfigError, Deployment, LeftOut
from shared.config import stored as reading
from shared.config.errors import LeaveOutError
from shared.config.references import Lookup
from shared.config.stored import StoredSettings
from shared.entities import Credential, Model
from shared.grant import Candidate, Grant
from shared.ids import DeploymentId
from shared.requests import ShownReply, ShownRequest
from shared.sealing import SealingError
from shared.waiting import ended

log = structlog.get_logger()

TIMEOUT_MS: Final = 2_000
AGAIN_S: Final = 1.0
READY_S: Final = 2.0
"""How long a decision waits for its candidates to be known here."""
RETIRED_S: Final = 900.0
"""A target that was taken away is kept so long for the calls that began before: no grant names it
any more.
"""
KINDS: Final = ("credential", "model")

Make = Callable[[Deployment], Target]
"""Raises ConfigError."""


class Shared(msgspec.Struct, frozen=True):
    """What of the configuration these models need."""

    sealer: Sealer
    make: Make
    settings: StoredSettings = StoredSettings()
    credentials: dict[str, dict[str, Any]] = {}
    """The file's, by name."""
    waiting: dict[str, LeftOut] = {}
    """Entries of the file that a credential added by API would serve, by id."""
    lookup: Lookup = msgspec.field(default_factory=lambda: Lookup({}))


class StoredModels:
    """
    Args:
        targets, left_out: the edge's own tables; changed in place, between two awaits of everything
            else.
        seen_seq: the CONTROL sequence this edge knows of: policy answers at that or later.
        named: told of every name that is served, for labels of metrics.
        read: the configuration, when a secret behind it has changed.
    """

    def __init__(
        self,
        client: BusClient | None,
        shared: Shared,
        targets: dict[DeploymentId, Target],
        left_out: dict[DeploymentId, str],
        seen_seq: Callable[[], int],
        named: Callable[[str], None] = lambda name: None,
        read: Callable[[Config, Mapping[str, str]], Shared] | None = None,
    ) -> None:
        self._client, self._shared, self._read_config = client, shared, read
        self._targets, self._left_out, self._seen_seq, self._named = targets, left_out, seen_seq, named
        self.models: dict[str, Model] = {}
        self.credentials: dict[str, Credential] = {}
        self._seqs: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        self._dirty: dict[tuple[str, str], None] = {}
        """(kind, last token of the subject) to ask for; (kind, "") for all of a kind."""
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        """Set, and replaced, whenever something became known."""
        self._retired: dict[str, asyncio.TimerHandle] = {}

    @property
    def sealer(self) -> Sealer:
        return self._shared.sealer

    def renew(self, config: Config, environ: Mapping[str, str]) -> None:
        """Secrets behind the configuration have other values."""
        if self._read_config is not None:
            self._shared = self._read_config(config, environ)
            for model_id in list(self.models):
                self._make_target(model_id)
            for entry in self._shared.waiting.values():
                self._make_waiting(entry)

    # ── what changed ──

    def changed(self, subject: str) -> None:
        """A control fact on `subject`. Synchronous."""
        kind, _, token = subject.removeprefix("control.").partition(".")
        if kind in KINDS:
            self._ask_for(kind, token)

    def start(self) -> None:
        """Nothing we know holds: ask for all, until policy has answered."""
        for kind in KINDS:
            self._ask_for(kind, "")

    def _ask_for(self, kind: str, token: str) -> None:
        self._dirty[kind, token] = None
        if self._client is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def ready(self, grant: Grant) -> None:
        """Returns once its candidates are known here as they were when it was decided; or policy
        didn't answer in time.
        """
        candidates = (*grant.candidates, *(each for other in grant.fallbacks for each in other.candidates))
        behind = [each for each in candidates if each.revision and not self._knows(each)]
        if not behind or self._client is None:
            return
        for each in behind:
            waiting = self._shared.waiting.get(each.deployment_id)
            changed = ("model", each.deployment_id) if waiting is None else ("credential", waiting.credential)
            self.changed(subjects.control(*changed))
        deadline = asyncio.get_running_loop().time() + READY_S
        try:
            async with asyncio.timeout_at(deadline):
                while not all(self._knows(each) for each in behind):
                    await self._moved.wait()
        except TimeoutError:
            log.warning("models_not_known_in_time", ids=[each.deployment_id for each in behind][:10])

    async def refresh(self) -> None:
        """Returns when what is known now is known here; or policy didn't answer (it is asked
        again).
        """
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=TIMEOUT_MS / 1000)

    async def close(self) -> None:
        for timer in self._retired.values():
            timer.cancel()
        if self._task is not None:
            await ended(self._task)

    def _knows(self, candidate: Candidate) -> bool:
        return self._revision(candidate.deployment_id) >= candidate.revision

    def _revision(self, model_id: str) -> int:
        model = self.models.get(model_id)
        if model is None:
            waiting = self._shared.waiting.get(model_id)
            return 0 if waiting is None else self._seqs["credential"].get(waiting.credential, 0)
        credential = model.litellm_params.get("litellm_credential_name")
        of_credential = self._seqs["credential"].get(credential, 0) if isinstance(credential, str) else 0
        return max(self._seqs["model"].get(model_id, 0), of_credential)

    # ── asking ──

    async def _run(self) -> None:
        while self._dirty:
            kind, token = next(iter(self._dirty))
            del self._dirty[kind, token]
            try:
                await (self._one(kind, token) if token else self._all(kind))
            except BusError as error:
                log.warning("models_not_known", error=error.code)
                self._dirty[kind, token] = None
                await asyncio.sleep(AGAIN_S)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def _one(self, kind: str, token: str) -> None:
        reply = await self._ask(ShownRequest(kind, self._seen_seq(), token))
        for entity, seq in zip(self._read(kind, reply), reply.seqs, strict=True):
            credential = entity.litellm_params.get("litellm_credential_name") if isinstance(entity, Model) else None
            if isinstance(credential, str):  # as it is at least then: its own notice may still be on its way
                await self._one("credential", subjects.control("credential", credential).rpartition(".")[2])
            self._hold(kind, _id(entity), entity, seq)
        if not reply.entities:
            for entity_id in [each for each in self._table(kind) if subjects.control(kind, each).endswith(f".{token}")]:
                self._hold(kind, entity_id, None, 0)

    async def _all(self, kind: str) -> None:
        found: dict[str, tuple[Any, int]] = {}
        after = ""
        while True:
            reply = await self._ask(ShownRequest(kind, self._seen_seq(), after=after))
            entities = self._read(kind, reply)
            for entity, seq in zip(entities, reply.seqs, strict=True):
                found[_id(entity)] = (entity, seq)
            after = reply.more_after
            if not after:
                break
        for entity_id in [each for each in self._table(kind) if each not in found]:
            self._hold(kind, entity_id, None, 0)
        for entity_id, (entity, seq) in found.items():
            self._hold(kind, entity_id, entity, seq)

    async def _ask(self, question: ShownRequest) -> ShownReply:
        assert self._client is not None
        return await bus.ask(self._client, subjects.POLICY_SHOWN, question, ShownReply, TIMEOUT_MS, tries=2)

    def _read(self, kind: str, reply: ShownReply) -> list[Any]:
        return msgspec.convert(reply.entities, list[Model] if kind == "model" else list[Credential])

    def _table(self, kind: str) -> dict[str, Any]:
        return self.models if kind == "model" else self.credentials

    # ── holding ──

    def _hold(self, kind: str, entity_id: str, entity: Any, seq: int) -> None:
        table, seqs = self._table(kind), self._seqs[kind]
        if entity is None:
            table.pop(entity_id, None)
            seqs.pop(entity_id, None)
        else:
            table[entity_id] = entity
            seqs[entity_id] = seq
        if kind == "model":
            self._make_target(entity_id)
            return
        for model in list(self.models.values()):
            if model.litellm_params.get("litellm_credential_name") == entity_id:
                self._make_target(model.model_id)
        for entry in self._shared.waiting.values():
            if entry.credential == entity_id:
                self._make_waiting(entry)

    def _make_target(self, model_id: str) -> None:
        model = self.models.get(model_id)
        if model is None or not self._shared.settings.on:
            self._retire(model_id)
            return
        try:
            self._serve(model_id, self.deployment(model))
        except (LeaveOutError, ConfigError, SealingError) as error:
            self._leave_out(model_id, model.model_name, str(error))

    def _make_waiting(self, entry: LeftOut) -> None:
        credential = self.credentials.get(entry.credential)
        if credential is None:
            self._leave_out(entry.id, entry.model_name, entry.reason)
            return
        try:
            values = {credential.credential_name: self.values_of(credential)}
            trusted = self._shared.settings.trusted
            self._serve(entry.id, reading.waiting(entry, values, self._shared.lookup, trusted=trusted, secrets=True))
        except (LeaveOutError, ConfigError, SealingError) as error:
            self._leave_out(entry.id, entry.model_name, str(error))

    def _serve(self, model_id: str, deployment: Deployment) -> None:
        """Raises ConfigError."""
        target = self._shared.make(deployment)
        timer = self._retired.pop(model_id, None)
        if timer is not None:
            timer.cancel()
        self._targets[DeploymentId(model_id)] = target
        self._left_out.pop(DeploymentId(model_id), None)
        self._named(deployment.model_name)

    def _leave_out(self, model_id: str, name: str, reason: str) -> None:
        log.warning("model_left_out", model=name[:128], id=model_id[:128], reason=reason)
        self._retire(model_id)
        self._left_out[DeploymentId(model_id)] = f"{name}: {reason}"

    def _retire(self, model_id: str) -> None:
        self._left_out.pop(DeploymentId(model_id), None)
        if DeploymentId(model_id) in self._targets and model_id not in self._retired:
            loop = asyncio.get_running_loop()
            self._retired[model_id] = loop.call_later(RETIRED_S, self._gone, model_id)

    def _gone(self, model_id: str) -> None:
        self._retired.pop(model_id, None)
        self._targets.pop(DeploymentId(model_id), None)

    # ── reading ──

    def deployment(self, model: Model, clear: Mapping[str, Any] | None = None) -> Deployment:
        """
        Args:
            clear: secrets of it that aren't sealed yet.
        Raises LeaveOutError, SealingError.
        """
        opened = {
            name: self.sealer.open(text, place("model", model.model_id, name)) for name, text in model.sealed.items()
        }
        params = {**model.litellm_params, **opened, **(clear or {})}
        named = params.get("litellm_credential_name")
        credential = self.credentials.get(named) if isinstance(named, str) else None
        values = {} if credential is None else {credential.credential_name: self.values_of(credential)}
        shared = self._shared
        return reading.deployment(
            model.model_id, model.model_name, params, model.model_info, shared.credentials, values, shared.lookup,
            trusted=shared.settings.trusted, secrets=True,
        )  # fmt: skip

    def check(self, model: Model, clear: Mapping[str, Any]) -> None:
        """Raises LeaveOutError, ConfigError, SealingError where this couldn't be called."""
        self._shared.make(self.deployment(model, clear))

    @property
    def trusted(self) -> bool:
        return self._shared.settings.trusted

    def values_of(self, credential: Credential) -> dict[str, Any]:
        """Raises SealingError."""
        name = credential.credential_name
        opened = {
            each: self.sealer.open(text, place("credential", name, each)) for each, text in credential.sealed.items()
        }
        return {**credential.credential_values, **opened}


def place(kind: str, entity_id: str, name: str) -> str:
    """What a secret is sealed for: it can't be opened as anything else's."""
    return f"{kind}/{entity_id}/{name}"


def _id(entity: Any) -> str:
    return str(entity.model_id if isinstance(entity, Model) else entity.credential_name)
