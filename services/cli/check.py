"""`tollgate check-config FILE`: what every key does, how every model is served, and whether every
service would start with it (services/readers, in a process of its own). Nothing is started, nobody
is called.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import Counter

from shared import guardrails, startup
from shared.config import Config, ConfigError, Key, opening
from shared.config.deployments import LeftOut
from shared.config.fields import Verdict
from shared.settings import SettingsError

WORDS: dict[Verdict, str] = {
    "acts": "acts",
    "differently": "acts differently",
    "no effect": "without effect",
    "unknown": "unknown",
}


def command(arguments: list[str]) -> int:
    """Exit status: 0 every model is served and every key acts; 1 it starts, and something isn't or
    doesn't; 2 it is refused.
    """
    parser = argparse.ArgumentParser(prog="tollgate check-config", description=__doc__)
    parser.add_argument("file", nargs="?", default=os.environ.get("TOLLGATE_CONFIG", "config.yaml"))
    parser.add_argument("--lenient", action="store_true", help="exit status 0 whenever it starts")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    try:
        config, _ = asyncio.run(startup.configuration(given.file, os.environ, None))
        host = os.environ.get("TOLLGATE_EDGE_HOST") or "127.0.0.1"
        opening.refuse(config.master_key, host, allow=config.allow_open_gateway)
        warnings = guardrails.not_known(config)
        _leave_out(config, _uncallable(given.file))
    except (ConfigError, SettingsError) as refusal:
        print(
            json.dumps({"refused": str(refusal)}) if given.json else f"{given.file}: refused: {refusal}",
            file=sys.stderr,
        )
        return 2
    keys = [*config.keys, *(Key(warning.partition(":")[0], "no effect", warning) for warning in warnings)]
    print(_as_json(config, keys) if given.json else _as_text(given.file, config, keys))
    fine = not config.left_out and all(key.verdict in ("acts", "differently") for key in keys)
    return 0 if fine or given.lenient else 1


READERS_S = 120.0


def _uncallable(file: str) -> dict[str, str]:
    """Deployment → why the edge couldn't call it. Raises ConfigError where a service would refuse
    the file.
    """
    command = [sys.executable, "-m", "services.readers", os.path.abspath(file)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=READERS_S, check=False)  # noqa: S603
        said = json.loads(ended.stdout or b"{}")
    except (subprocess.TimeoutExpired, ValueError):
        raise ConfigError("the services' own readers didn't answer") from None
    if ended.returncode or not said:
        last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConfigError(f"the services' own readers failed: {last[:300]}")
    if "refused" in said:
        raise ConfigError(f"{said['refused']} ({said['by']})")
    uncallable: dict[str, str] = said["uncallable"]
    return uncallable


def _leave_out(config: Config, uncallable: dict[str, str]) -> None:
    config.left_out.extend(
        LeftOut("model_list", each.model_name, uncallable[each.id], each.id)
        for each in config.deployments
        if each.id in uncallable
    )
    config.deployments[:] = [each for each in config.deployments if each.id not in uncallable]


def _as_text(file: str, config: Config, keys: list[Key]) -> str:
    width = max((len(key.place) for key in keys), default=0)
    lines = [f"{file}: it starts.", "", "Keys"]
    lines += [f"  {key.place:<{width}}  {WORDS[key.verdict]}{f': {key.note}' if key.note else ''}" for key in keys]
    lines += ["", "Models"]
    for deployment in config.deployments:
        where = (
            "answers by itself"
            if deployment.mock_response is not None
            else f"at {deployment.api_base or 'its own address'}"
        )
        lines.append(f"  {deployment.model_name}: {deployment.provider}/{deployment.upstream_model} {where}")
    lines += [f"  {each.model_name or each.place}: LEFT OUT: {each.reason}" for each in config.left_out]
    lines += ["", summary(config, keys)]
    return "\n".join(lines)


def _as_json(config: Config, keys: list[Key]) -> str:
    served = [
        {
            "model": each.model_name,
            "provider": each.provider,
            "upstream_model": each.upstream_model,
            "api_base": each.api_base,
        }
        for each in config.deployments
    ]
    left_out = [{"model": each.model_name, "place": each.place, "reason": each.reason} for each in config.left_out]
    named = [{"key": key.place, "verdict": WORDS[key.verdict], "note": key.note} for key in keys]
    return json.dumps({"keys": named, "served": served, "left_out": left_out}, indent=2)


def summary(config: Config, keys: list[Key]) -> str:
    """One line."""
    counts = Counter(key.verdict for key in keys)
    said = ", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items() if counts[verdict])
    return f"{len(keys)} keys: {said}; {len(config.deployments)} models served, {len(config.left_out)} left out."
