"""`python -m daypass`."""

import sys

from daypass.cli import main

if __name__ == "__main__":
    sys.exit(main())
