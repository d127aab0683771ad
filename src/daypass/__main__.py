"""`python -m daypass`."""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - no installer has checked it here
        found = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - for any Python 3
        sys.exit(f"daypass: Python {found} is too old\n  run it with Python 3.11 or newer")
    from daypass.cli import main

    sys.exit(main())
