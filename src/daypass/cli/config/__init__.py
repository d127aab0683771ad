"""`daypass config`: the config file, without a cluster."""

SUMMARY = "the config file: validate it, and print its schema for editors"
COMMANDS = ("validate", "schema")
EPILOG = """examples:
  daypass config validate
  daypass config schema > daypass.schema.json

`daypass config COMMAND --help` describes each of them.
"""
