"""`python -m services.moderation`"""

from services.moderation.app import main
from shared.service import run

if __name__ == "__main__":
    run("moderation", main)
