"""`python -m services`: the whole suite on this machine."""

import sys

from services.suite.app import main

if __name__ == "__main__":
    sys.exit(main())
