"""Models and credentials that were added by API, as an edge has them.

sealer.py   secrets sealed before they leave this process, and opened again: nobody but edges has the key
models.py   what policy says there is → targets to be called, kept in step with the control feed
bodies.py   a management call's body with its secrets sealed, checked as an entry of the file is
"""  # noqa: W505

from services.edge.stored.models import StoredModels
from services.edge.stored.sealer import Sealer

__all__ = ["Sealer", "StoredModels"]
