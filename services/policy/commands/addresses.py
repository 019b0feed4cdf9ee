"""/get/allowed_ips, /add/allowed_ip, /delete/allowed_ip: who may call at all, by address.

What was set here wins over `general_settings.allowed_ips` until the setting is deleted.
"""

from services.policy.folding import ALLOWED_IPS
from services.policy.plan import Call, Change, Plan, setting
from shared import errors
from shared.entities import readers as fields
from shared.errors import RefusedError


def get(call: Call) -> Plan:
    return Plan({"data": _now(call)})


def add(call: Call) -> Plan:
    ip, known = _sent(call), _now(call)
    if ip in known:
        raise RefusedError(errors.bad_request("IP address already exists", "ip"))
    return Plan(_done(f"IP {ip} address added successfully"), [_set(call, [*known, ip])])


def delete(call: Call) -> Plan:
    """An empty list lets everybody in again, as if none had ever been given."""
    ip, known = _sent(call), _now(call)
    if ip not in known:
        raise RefusedError(errors.entity_not_found("IP address not found", "ip"))
    return Plan(_done(f"IP {ip} deleted successfully"), [_set(call, [each for each in known if each != ip])])


def _done(message: str) -> dict[str, str]:
    return {"message": message, "status": "success"}


def _sent(call: Call) -> str:
    ip = fields.text("ip", call.body.get("ip"))
    if ip is None:
        fields.refuse("ip", "must be an IP address, or a range like 10.0.0.0/8")
    fields.networks("ip", [ip])
    return ip


def _now(call: Call) -> list[str]:
    setting = call.directory.settings.get(ALLOWED_IPS)
    if setting is None:
        return list(call.catalog.access.allowed_ips or [])
    return [each for each in setting.value or [] if isinstance(each, str)]


def _set(call: Call, ips: list[str]) -> Change:
    fields.networks("ip", ips)
    return setting(call.directory, ALLOWED_IPS, ips, "api", call.now_ms)
