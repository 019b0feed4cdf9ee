"""What providers keep for a caller of OpenAI's Responses: named by ids that are the caller's alone
(own_ids.py), and found again by those.

All callers of a deployment share its key, and whoever knows an id of it could go on from another
tenant's response. So no provider's id leaves, and none that didn't leave to this caller comes in.
"""

import asyncio
import functools
from collections.abc import Callable, Container, Mapping
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from services.edge import account
from services.edge.formats.base import Call
from services.edge.http import Request
from services.edge.own_ids import EVERYBODY, IdRules, OwnId, OwnIds, deployment_bits, is_ours, owner_of
from services.edge.parts import Parts
from services.edge.passthrough import references
from services.edge.passthrough.references import CITED, ITEM, RESPONSE
from services.edge.providers.base import Target
from services.edge.reading import Head
from services.edge.routing.plan import Group
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.grant import Candidate, Permit
from shared.ids import DeploymentId
from shared.routes import Route
from shared.sealing import SealingError

ITEMS_AT_A_TIME = 256
QUERY = (
    "include", "include[]", "include_obfuscation", "stream", "starting_after", "limit", "order", "after", "before",
)  # fmt: skip
"""Parameters that the API reads."""
QUERY_FIELDS_MAX = 64
MADE_MAX = 4_096
_IDS_IN_QUERY = ("after", "before")
_NAMES = {"previous_response_id": "Previous response", "conversation": "Conversation", "tools": "Container"}
"""What a field's id is of; of others an item."""


class KeptResponse(msgspec.Struct, frozen=True):
    """One that a call asks about."""

    found: OwnId
    query: str
    """What of the client's the API reads."""

    def path(self, template: str) -> str:
        path = template.replace("{response_id}", quote(self.found.id, safe=""), 1)
        return f"{path}{'&' if '?' in path else '?'}{self.query}" if self.query else path


class Kept:
    """One call's ids, both ways."""

    def __init__(self, ids: OwnIds, rules: IdRules, caller: Caller) -> None:
        self._ids, own = ids, owner_of(caller)
        self._owners = (EVERYBODY, own) if rules.of_anybody else (own,)
        """Whose ids are this caller's; those made for it are the first's."""
        is_admin = caller.role == "proxy_admin"
        self._any_owner = rules.of_anybody or is_admin
        self._unmanaged = rules.of_anybody or rules.of_nobody or is_admin
        self._must: dict[int, Refusal] = {}
        """Deployments that alone know what the request names, and what is said where they aren't
        there.
        """
        self._may: set[int] = set()
        """Those that made what it repeats."""
        self._given: dict[str, str] = {}
        """A provider's id → as the caller has it."""

    # ── to the provider ──

    def response(self, id: str, query: str) -> KeptResponse:
        """Raises RefusedError (404) where it isn't this caller's."""
        found = self._opened(id)
        refusal = errors.not_kept("Response", id, "response_id")
        if found is None or not found.model:
            raise RefusedError(refusal)
        self._must[found.deployment] = refusal
        self._given[found.id] = id
        return KeptResponse(found, self._query(query))

    async def taken_back(self, call: Call) -> Call:
        """A request as its provider knows what it names. Raises RefusedError (404) where that isn't
        this caller's.
        """
        fields, at = dict(call.fields), ""
        try:
            self._ids.ready()
            for at in references.ASKED.keys() & fields.keys():
                below = references.ASKED[at]
                fields[at] = msgspec.Raw(references.rewritten(fields[at], below, self._back(at), asked=True))
            at = "input"
            if at in fields:
                fields[at] = msgspec.Raw(await self._items(bytes(fields[at])))
        except SealingError:
            raise RefusedError(errors.sealing_unavailable()) from None
        except UNREADABLE:
            raise RefusedError(errors.bad_request(f"{at}: it can't be read", at)) from None
        except references.TooManyError:
            raise RefusedError(errors.bad_request(f"{at}: there are too many items, or names, in it", at)) from None
        return msgspec.structs.replace(call, fields=fields, exact=None)

    async def _items(self, raw: bytes) -> bytes:
        items = await references.items_of(raw)
        if items is None:
            return raw
        back, made = self._back("input"), list[bytes]()
        for start in range(0, len(items), ITEMS_AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            made += (references.item(bytes(each), back, is_ours) for each in items[start : start + ITEMS_AT_A_TIME])
        return b"[" + b",".join(made) + b"]"

    def _opened(self, id: str) -> OwnId | None:
        """None: it isn't this caller's. Raises RefusedError where no id can be opened."""
        try:
            opened = (self._ids.opened(id, owner) for owner in self._owners)
            found = next((each for each in opened if each is not None), None)
        except SealingError:
            raise RefusedError(errors.sealing_unavailable()) from None
        return found if found is not None and (self._any_owner or found.owner in self._owners) else None

    def _back(self, param: str) -> references.Change:
        def back(kind: str, id: str) -> str:
            found, refusal = self._opened(id), errors.not_kept(_NAMES.get(param, "Item"), id, param)
            if found is not None:
                self._given[found.id] = id
                if kind == CITED or param == "input":
                    self._may.add(found.deployment)
                else:
                    self._must[found.deployment] = refusal
                return found.id
            if self._unmanaged or (kind == CITED and not is_ours(id)):
                return id
            raise RefusedError(refusal)

        return back

    def _query(self, asked: str) -> str:
        """Raises RefusedError."""
        try:
            pairs = parse_qsl(asked, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            raise RefusedError(errors.bad_request("The query has too many fields")) from None
        return urlencode(
            [
                (name, self._back(name)(ITEM, value) if name in _IDS_IN_QUERY else value)
                for name, value in pairs
                if name in QUERY
            ]
        )

    def known_to(self, candidates: list[Candidate], targets: Mapping[DeploymentId, Target]) -> list[Candidate]:
        """Those who may know what the request names; first who does. Raises RefusedError (404)
        where nobody does.
        """
        found = candidates
        for tag, refusal in self._must.items():
            places = _places(tag, targets)
            found = [each for each in found if _is_at(each, tag, places, targets)]
            if not found:
                raise RefusedError(refusal)
        for tag in self._may:
            places = _places(tag, targets)
            found = sorted(found, key=lambda each: not _is_at(each, tag, places, targets))
        return found

    def ways(self, groups: list[Group], targets: Mapping[DeploymentId, Target]) -> list[Group]:
        """As `known_to`, of several models."""
        found, refusal = list[Group](), None
        for group in groups:
            try:
                candidates = self.known_to(group.candidates, targets)
            except RefusedError as no:
                refusal = refusal or no
                continue
            found.append(msgspec.structs.replace(group, candidates=candidates))
        if not found and refusal is not None:
            raise refusal
        return found

    def renamed(self, error: bytes) -> bytes:
        """What a provider says of what it was asked."""
        for theirs, given in self._given.items():
            error = error.replace(theirs.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass"))
        return error

    # ── to the client ──

    def leaving(self, deployment_id: DeploymentId, model: str) -> "Leaving":
        return Leaving(self._ids, self._owners[0], deployment_bits(deployment_id), model)

    def new_in(self, leaving: "Leaving") -> Callable[[], str]:
        """Tells the provider's id of the response that an answer is of."""
        return functools.partial(leaving.response, self._given)


class Leaving:
    """The ids of one answer, as the client gets them. Raises SealingError where there is no key.

    Args:
        owner: whose they are; who deployment: who made it.
    """

    def __init__(self, ids: OwnIds, owner: bytes, deployment: int, model: str) -> None:
        self._ids, self._owner, self._deployment, self._model = ids, owner, deployment, model
        self._made: dict[tuple[str, str], str] = {}
        """A stream says the same few again and again."""

    def response(self, but: Container[str]) -> str:
        """The provider's id of the response that it is an answer of, and not of those named before;
        empty: it isn't known yet.
        """
        return next((id for kind, id in self._made if kind == RESPONSE and id not in but), "")

    def __call__(self, kind: str, id: str) -> str:
        found = self._made.get((kind, id))
        if found is None:
            found = self._ids.made(self._owner, self._deployment, self._model if kind == RESPONSE else "", id)
            if len(self._made) < MADE_MAX:
                self._made[kind, id] = found
        return found


_Place = tuple[str, str, int, bytes]


def _places(tag: int, targets: Mapping[DeploymentId, Target]) -> set[_Place]:
    """Where the deployment is, and under which key."""
    return {place for id, target in targets.items() if _tag(id) == tag and (place := _place(target)) is not None}


def _place(target: Target) -> _Place | None:
    """None: what it shows as its credential is another one every time."""
    origin = target.origin
    return None if origin is None or target.credentials else (origin.scheme, origin.host, origin.port, target.headers)


def _is_at(candidate: Candidate, tag: int, places: set[_Place], targets: Mapping[DeploymentId, Target]) -> bool:
    """Whether it is the deployment, or another one at the same place under the same key: models of
    one account know each other's responses.
    """
    target = targets.get(candidate.deployment_id)
    return _tag(candidate.deployment_id) == tag or (target is not None and _place(target) in places)


_tag = functools.lru_cache(maxsize=16_384)(deployment_bits)


async def asked_about(
    parts: Parts, request: Request, route: Route, head: Head, id: str
) -> tuple[Kept, KeptResponse, Call]:
    """A call about a response that is kept. Raises RefusedError: whose it isn't learns nothing of
    it, not even that it is there.
    """
    caller = (await parts.grants.decide(head.digest, head.shape, route.name, "")).caller
    kept = Kept(parts.own_ids, parts.id_rules, caller)
    try:
        about = kept.response(id, request.query)
    except RefusedError as no:
        await account.refuse(parts, no.refusal, route, head, caller)
    return kept, about, Call(b"", {}, about.found.model, "stream=true" in about.query.lower())


async def known_to(
    parts: Parts,
    route: Route,
    head: Head,
    call: Call,
    permit: Permit,
    kept: Kept,
    groups: list[Group],
    *,
    is_own: bool,
) -> tuple[Call, list[Group]]:
    """The call as its provider knows what it names, and who may be asked. Raises RefusedError.

    Args:
        is_own: it has a body.
    """
    try:
        return (await kept.taken_back(call) if is_own else call), kept.ways(groups, parts.targets)
    except RefusedError as no:
        await account.refuse(parts, no.refusal, route, head, permit.grant.caller, call, permit)
