"""`daypass identity`: the ServiceAccounts that clients outside the cluster use."""

SUMMARY = "identities for clients outside the cluster: create, list, rotate, revoke them"
COMMANDS = (
    "create", "list", "show", "authorize", "unauthorize", "rotate", "revoke", "reap", "delete",
    "federate",
)  # fmt: skip
EPILOG = """examples:
  daypass identity create bot -n team --config daypass.yaml --credentials-out bot.json
  daypass identity list -A
  daypass identity rotate bot -n team --credentials-out bot.json
"""
