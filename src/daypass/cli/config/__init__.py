"""`daypass config`: the config file, without a cluster."""

SUMMARY = "the config file: validate it, and print its schema for editors"
COMMANDS = ("validate", "schema")
EPILOG = """examples:
  daypass config validate
  daypass config schema > daypass.schema.json
"""
