"""`python -m services.edge`"""

from services.edge.app import main
from shared.service import run

if __name__ == "__main__":
    run("edge", main)
