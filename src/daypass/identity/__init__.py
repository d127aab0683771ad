"""Identities in a cluster: ServiceAccounts that clients outside it use.

- `model`, `credential_secrets`: names, ServiceAccounts, Secrets and the objects of an identity
- `create`, `rotate`, `delete` (and revoke), `reap`: what changes identities
- `credentials_file`: what a client gets
- `grants`, `authorize`, `inference`, `role_risks`: what an identity may do in namespaces, and which
  models it may call
- `namespaces`, `enforcement`: what their namespaces need, and the admission policy in a cluster
- `records`, `health`: which identities there are, and their problems

No token is stored here: a credentials file is written once, to the path that the user names.
"""
