"""`daypass config`: the config file, without a cluster."""

SUMMARY = "validate the config file, or print its schema for editors"
COMMANDS = ("validate", "schema")
EPILOG = """examples:
  daypass config validate
  daypass config schema > daypass.schema.json
"""
