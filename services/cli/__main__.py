"""`python -m services.cli`, as the installed `tollgate`."""

import sys

from services.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
