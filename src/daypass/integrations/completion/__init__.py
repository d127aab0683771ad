"""What a shell completes: `words` reads it out of argparse parsers, `shells` writes it as scripts.

The scripts stand alone: completing a word starts no Python.
"""
