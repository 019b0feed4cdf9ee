"""What an edge makes of a configuration before it knows the bus: for `check-config`."""

from collections.abc import Mapping

from services.edge.setup import set_up


async def reads(environ: Mapping[str, str]) -> dict[str, str]:
    """Deployment → why it can't be called. Raises ConfigError or SettingsError."""
    setup = await set_up(environ)
    config = setup.found.config
    known = {each.id for each in config.left_out} | config.unkeyed.keys()
    found = {str(name): why for name, why in setup.left_out.items() if name not in known}
    await setup.close()
    return found
