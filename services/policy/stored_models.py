"""Keeps the catalog in step with the models and credentials that were added by API. Pure; a change
costs its own model's group.

A model that was added joins the file's deployments of the same name, after them and by age. One
that can't be served is left out with the reason, as the file's are; an entry of the file that waits
for a credential is served as soon as somebody has added that.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.policy.catalog import Catalog, access_groups, in_order
from services.policy.directory import Directory
from shared.config import Deployment, LeftOut
from shared.config import stored as reading
from shared.config.deployments import SECRETS
from shared.config.errors import LeaveOutError
from shared.entities import Credential, Model
from shared.ids import DeploymentId


def placeholders(values: Mapping[str, Any], sealed: Mapping[str, Any]) -> dict[str, Any]:
    """The values with something in each secret's place: policy has the key to none of them."""
    known = {name: reading.SEALED for name in sealed if name in SECRETS}
    return {**values, **known}


def read(catalog: Catalog, model: Model, credentials: Mapping[str, Credential]) -> Deployment:
    """Raises LeaveOutError."""
    return reading.deployment(
        model.model_id,
        model.model_name,
        placeholders(model.litellm_params, model.sealed),
        model.model_info,
        catalog.credentials,
        {each.credential_name: placeholders(each.credential_values, each.sealed) for each in credentials.values()},
        catalog.lookup,
        trusted=catalog.stored.trusted,
        secrets=False,
    )


class _Held(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    age: tuple[int, str]
    deployment: Deployment | None
    """None: it can't be served."""


class StoredModels:
    """Changes the catalog's tables in place, between two awaits of everything else."""

    def __init__(self, directory: Directory, catalog: Catalog) -> None:
        self._directory, self._catalog = directory, catalog
        self._of_file = {name: list(found) for name, found in catalog.models.items()}
        self._patterns_of_file = {f"{before}*{after}": list(found) for before, after, found in catalog.patterns}
        self._left_out_of_file = dict(catalog.left_out)
        self._held: dict[str, _Held] = {}
        """Added by API, and the file's waiting entries, by id."""
        self._by_name: dict[str, set[str]] = {}
        self._waiting = {each.id: each for each in catalog.waiting if each.id}
        directory.watchers.append(self.changed)
        for kind in ("model", "credential"):
            for entity_id in list(directory.tables[kind]):
                self.changed(kind, entity_id)

    def close(self) -> None:
        """The catalog isn't in force any more."""
        self._directory.watchers.remove(self.changed)

    def changed(self, kind: str, entity_id: str) -> None:
        if not kind:
            for model_id in list(self._held):
                self._put(model_id, None)
        elif kind == "model" and self._catalog.stored.on:
            self._read(entity_id)
        elif kind == "credential":
            for model in self._naming(entity_id):
                self._read(model)

    def _naming(self, credential: str) -> list[str]:
        """The models that name a credential."""
        found = [
            model.model_id
            for model in self._directory.tables["model"].values()
            if self._catalog.stored.on and model.litellm_params.get("litellm_credential_name") == credential
        ]
        return [*found, *(each.id for each in self._waiting.values() if each.credential == credential)]

    def _read(self, model_id: str) -> None:
        waiting = self._waiting.get(DeploymentId(model_id))
        if waiting is not None:
            self._put(model_id, self._of_waiting(waiting))
            return
        model: Model | None = self._directory.tables["model"].get(model_id)
        if model is None:
            self._put(model_id, None)
            return
        reason, made = "it is blocked" if model.blocked else "", None
        if not reason:
            try:
                made = read(self._catalog, model, self._directory.tables["credential"])
            except LeaveOutError as error:
                reason = str(error)
        self._catalog.revisions[DeploymentId(model_id)] = self._revision(model_id, model.litellm_params)
        self._put(model_id, _Held((model.model_name,), (model.created_at_ms, model_id), made), reason)

    def _of_waiting(self, entry: LeftOut) -> _Held | None:
        credential = self._directory.tables["credential"].get(entry.credential)
        if credential is None:
            return None
        try:
            made = waiting_deployment(self._catalog, entry, credential)
        except LeaveOutError:
            return None
        self._catalog.revisions[entry.id] = self._directory.expected("credential", entry.credential)
        return _Held(made.names, (0, entry.id), made)

    def _revision(self, model_id: str, params: Mapping[str, Any]) -> int:
        credential = params.get("litellm_credential_name")
        of_credential = self._directory.expected("credential", credential) if isinstance(credential, str) else 0
        return max(self._directory.expected("model", model_id), of_credential)

    def _put(self, model_id: str, held: _Held | None, reason: str = "") -> None:
        before = self._held.pop(model_id, None)
        if before is not None:
            for name in before.names:
                self._by_name[name].discard(model_id)
            self._catalog.deployments.pop(DeploymentId(model_id), None)
            self._catalog.owners.pop(DeploymentId(model_id), None)
        if held is not None:
            self._held[model_id] = held
            for name in held.names:
                self._by_name.setdefault(name, set()).add(model_id)
            if held.deployment is not None:
                self._catalog.deployments[DeploymentId(model_id)] = held.deployment
                if held.deployment.team_id is not None:
                    self._catalog.owners[DeploymentId(model_id)] = held.deployment.team_id
        else:
            self._catalog.revisions.pop(DeploymentId(model_id), None)
        for name in dict.fromkeys(name for each in (before, held) if each is not None for name in each.names):
            self._regroup(name, reason if held is not None and name in held.names else "")
        grouped = any(
            each is not None and each.deployment is not None and each.deployment.info.get("access_groups")
            for each in (before, held)
        )
        if grouped:
            _become(self._catalog.access_groups, access_groups(self._catalog.deployments.values()))
        self._catalog.kept_fallbacks.clear()

    def _regroup(self, name: str, reason: str) -> None:
        catalog = self._catalog
        made = self._made(name)
        if "*" in name:
            every = {
                each: [*self._patterns_of_file.get(each, []), *self._made(each)]
                for each in {*self._patterns_of_file, *(n for n in self._by_name if "*" in n)}
            }
            catalog.patterns[:] = in_order({each: found for each, found in every.items() if found})
        else:
            found = [*self._of_file.get(name, []), *map(catalog.candidate, made)]
            if found:
                catalog.models[name] = found
            else:
                catalog.models.pop(name, None)
        if not self._by_name[name]:
            del self._by_name[name]
        left_out = reason or self._left_out_of_file.get(name, "")
        if left_out and not made:
            catalog.left_out[name] = left_out
        else:
            catalog.left_out.pop(name, None)

    def _made(self, name: str) -> list[Deployment]:
        mine = sorted((self._held[each] for each in self._by_name.get(name, ())), key=lambda held: held.age)
        return [held.deployment for held in mine if held.deployment is not None]


def waiting_deployment(catalog: Catalog, entry: LeftOut, credential: Credential) -> Deployment:
    """Raises LeaveOutError."""
    values = placeholders(credential.credential_values, credential.sealed)
    return reading.waiting(
        entry, {credential.credential_name: values}, catalog.lookup, trusted=catalog.stored.trusted, secrets=False
    )


def _become(table: dict[str, Any], values: Mapping[str, Any]) -> None:
    table.clear()
    table.update(values)
