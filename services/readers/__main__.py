"""`python -m services.readers FILE`: what `tollgate check-config` asks in a process of its own.
Prints one JSON object; see app.py.
"""

import sys

from services.readers.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
