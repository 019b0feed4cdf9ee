"""A small world for the pure tests: a catalog, a directory filled through its own fold, and calls
upon them.
"""

from typing import Any

import msgspec

from services.policy.catalog import Catalog, build
from services.policy.commands import run
from services.policy.decide import MASTER, decide
from services.policy.directory import Directory
from services.policy.plan import Call, Plan, Wanted
from services.policy.stored_models import StoredModels
from services.policy.stored_settings import StoredSettings
from shared import config, subjects
from shared.billing import Price
from shared.entities import KINDS, Key
from shared.errors import Refusal
from shared.facts import Caller, ControlFact, decode_control, encode_control
from shared.grant import Denial, Grant
from shared.ids import KeyDigest, digest_key
from shared.requests import DecideRequest

NOW = 1_800_000_000_000
MASTER_KEY = "sk-master-of-this-world"
CONFIG = f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o, api_key: k}}
  - model_name: gpt
    litellm_params: {{model: groq/llama, api_key: k, order: 1, weight: 2}}
  - model_name: mini
    litellm_params: {{model: openai/gpt-4o-mini, api_key: k, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}
  - model_name: free
    litellm_params: {{model: openai/unheard-of, mock_response: hi}}
litellm_settings:
  callbacks: [banned_keywords]
general_settings:
  master_key: {MASTER_KEY}
"""

PRICES = {("openai", "gpt-4o"): Price(2_500_000, 10_000_000), ("groq", "llama"): Price(50_000, 80_000)}


def catalog(text: str = CONFIG, environ: dict[str, str] | None = None) -> Catalog:
    return build(
        config.parse(text, {}, service="policy"), lambda provider, model: PRICES.get((provider, model)), environ
    )


def digest(name: str) -> KeyDigest:
    return digest_key(f"sk-{name}-0123456789abcdef")


def key(name: str, **fields: Any) -> Key:
    return Key(token=digest(name), key_name="sk-...cdef", **fields)


class World:
    """`hold` puts entities in; `call` runs a command and, as the bus would, folds what it
    changed.
    """

    def __init__(self, *entities: Any, text: str = CONFIG, environ: dict[str, str] | None = None, **more: Any) -> None:
        self.directory = Directory()
        self.catalog = msgspec.structs.replace(catalog(text, environ), **more)
        StoredModels(self.directory, self.catalog)
        StoredSettings(self.directory, self.catalog)
        self.seq = 0
        self.facts: list[ControlFact] = []
        self.ids = 0
        self.spent: dict[str, int] = {}
        """Value → pico-USD that the book has."""
        self.hold(*entities)

    def hold(self, *entities: Any) -> None:
        for entity in entities:
            kind = next(kind for kind in KINDS.values() if kind.struct is type(entity))
            self.fold(kind.name, kind.id_of(entity), msgspec.to_builtins(entity))
            if isinstance(entity, Key) and entity.key_alias is not None:
                self.fold("alias", entity.key_alias, {"alias": entity.key_alias, "token": entity.token})

    def fold(
        self,
        kind: str,
        entity_id: str,
        after: dict[str, Any] | None,
        action: str = "created",
        before: dict[str, Any] | None = None,
    ) -> ControlFact:
        """Through the wire format and back, as a replica gets it."""
        fact = ControlFact(self.new_id(), NOW, kind, entity_id, action, MASTER, before, after)
        self.seq += 1
        fact = decode_control(encode_control(fact))
        self.directory.apply(subjects.control(kind, entity_id), fact, self.seq)
        return fact

    def new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"

    def decide(
        self, credential: str | None, route: str = "/chat/completions", model: str = "", **kw: Any
    ) -> Grant | Denial:
        digest_ = None if credential is None else digest_key(credential)
        now_ms = kw.pop("now_ms", NOW)
        return decide(self.directory, self.catalog, DecideRequest(digest_, route, model, 0, **kw), now_ms, self.seq)

    def plan(
        self,
        route: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        actor: Caller = MASTER,
        now_ms: int = NOW,
        params: dict[str, str] | None = None,
        credential: DecideRequest | None = None,
    ) -> Any:
        call = Call(
            self.directory, query or {}, body or {}, actor, now_ms, self.new_id, self.catalog, route, params or {},
            credential=credential,
        )  # fmt: skip
        try:
            return run(call)
        except Wanted as wanted:
            known = {(wanted.dimension, *wanted.values): sum(self.spent.get(each, 0) for each in wanted.values)}
            return run(msgspec.structs.replace(call, book=known))

    def call(self, route: str, body: dict[str, Any] | None = None, **kw: Any) -> Any:
        """The answer as JSON would carry it, or the Refusal."""
        plan = self.plan(route, body, **kw)
        if not isinstance(plan, Plan):
            return plan
        for change in plan.changes:
            assert change.expected_seq == self.directory.expected_seq(change.subject), "planned on another state"
            self.facts.append(self.fold(change.kind, change.entity_id, change.after, change.action, change.before))
        return msgspec.json.decode(msgspec.json.encode(plan.answer))


def secret(name: str) -> str:
    """The credential whose digest is `digest(name)`."""
    return f"sk-{name}-0123456789abcdef"


OF_ALL = ("control.setting.>", "control.model.>", "control.credential.>", "control.tag.>")
"""What every decision about a model depends on, beside whose it is."""


split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def refusal(answer: object) -> tuple[int, str, str | None]:
    assert isinstance(answer, Refusal), answer
    return answer.status, answer.code, answer.param
