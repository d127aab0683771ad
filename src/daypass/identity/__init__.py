"""Identities in a cluster: ServiceAccounts that clients outside it use.

- `model`, `credential_secrets`: names, ServiceAccounts, Secrets and the objects of an identity
- `create`, `rotate`, `delete` (and revoke): what changes identities
- `credentials_file`: what a client gets
- `grants`, `authorize`, `roles`: what an identity may do, and which models it may call
- `enforcement`: the admission policy in a cluster, and what namespaces of identities need
- `records`, `health`: which identities there are, and their problems

No token is stored here: a credentials file is written once, to the path that the user names.
"""
