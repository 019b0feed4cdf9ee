"""`python -m services.doctor [CHECK ...]`; see app.py."""

import sys

from services.doctor.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
