"""What a release consists of: wheel, sdist, bill of materials, checksums, and their checks."""
