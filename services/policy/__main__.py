"""`python -m services.policy`"""

from services.policy.app import main
from shared.service import run

if __name__ == "__main__":
    run("policy", main)
