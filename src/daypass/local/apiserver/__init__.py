"""A small Kubernetes API server on threads, for first runs and for other projects' tests.

It answers as kube-apiserver 1.37 does, as far as daypass's own commands, its door and its gate need
it: a contract suite runs on both, and if they differ, this one is wrong. It is not a cluster, not
for kubectl and not for production.

What it has:

- Namespaces, ServiceAccounts, Secrets, ConfigMaps, RBAC and Istio's AuthorizationPolicies: get,
  list, watch, create, merge patch, apply, delete, dry runs, metadata alone, and selectors of the
  form `key=value`
- TokenRequest for tokens bound to a Secret or to nothing, TokenReview, SubjectAccessReview
- RBAC, with those rules of Kubernetes' own ClusterRoles that concern these kinds
- OpenID discovery, and one signing key
- controllers: token Secrets are filled, and deleted with their ServiceAccount; a namespace has a
  ServiceAccount `default`, and is deleted with its objects

What only a cluster has, and what happens here instead:

- other kinds, reviews, paths (Pods, policies, metrics, OpenAPI, aggregated discovery): 404
- bodies in YAML or protobuf, strategic merge patches, JSON patches: 415; bodies in chunks: 411
- updates (PUT), deletion of collections: 405
- validation: only fields that this server reads are checked; unknown fields are stored
- fields that cannot change, such as `roleRef`: they change
- field ownership: an apply never conflicts, and removes what the last apply had set
- pages: the whole list; bookmarks: none; HTTP/2: not offered
- finalizers and owner references: ignored
- impersonation: 400; client certificates, OIDC, X-Remote-* headers: ignored
- protection against privilege escalation: who may create Roles can grant any right
- `resourceNames` for list and watch: no request matches them
- warnings, the label `legacy-token-invalid-since`, admission, quotas, audit, flow control: none
- flags: issuer, audiences, longest lifetime (24 h) and anonymous access are fixed

`server` (HTTP) hands whole requests to `api` (authentication, authorization, routing), which calls
one of the `handlers`. Below them are `requests`, `state` (with the state file), `controllers`, and
pure parts: `kinds`, `rbac`, `tokens`, `store`.
"""

from daypass.local.apiserver.server import ApiServer

__all__ = ["ApiServer"]
