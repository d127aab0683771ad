"""`daypass identity`: the ServiceAccounts that clients outside the cluster use."""

SUMMARY = "create, list, rotate and revoke identities of clients"
COMMANDS = (
    "create", "list", "show", "authorize", "unauthorize", "rotate", "revoke", "delete",
    "federate",
)  # fmt: skip
EPILOG = """examples:
  daypass identity create bot -n team --credentials-out bot.json
  daypass identity list -A
  daypass identity rotate bot -n team --credentials-out bot.json
"""
