"""TokenRequest, in the order of kubernetes/pkg/registry/core/serviceaccount/storage/token.go."""

from __future__ import annotations

import json
from typing import Any

from daypass.local.apiserver import errors, managed_fields
from daypass.local.apiserver.admission import require_namespace
from daypass.local.apiserver.call import Call
from daypass.local.apiserver.cluster import rfc3339
from daypass.local.apiserver.errors import Cause, invalid_value, quote
from daypass.local.apiserver.kinds import NODE, POD, SECRET, SERVICE_ACCOUNT, TOKEN_REQUEST
from daypass.local.apiserver.names import path_segment_faults
from daypass.local.apiserver.requests import ApiResponse
from daypass.local.apiserver.store import Object

DEFAULT_SECONDS = 3600
SHORTEST_SECONDS, LONGEST_SECONDS = 600, 2**32
_BINDABLE = {("", "Secret"): SECRET, ("", "Pod"): POD, ("", "Node"): NODE}


def create(call: Call) -> ApiResponse:
    """Mint a token for the ServiceAccount of the path. `dryRun` mints one as well."""
    cluster = call.cluster
    # 1. What is sent.
    call.check_options("CreateOptions")
    request = call.placed(call.decode(TOKEN_REQUEST))
    spec: dict[str, Any] = {"expirationSeconds": DEFAULT_SECONDS, **request.get("spec", {})}
    owned = managed_fields.created({**request, "spec": spec}, call.manager, cluster.now())
    # 2. Where, and for whom.
    require_namespace(cluster, call.namespace)
    _check_name(request["metadata"].get("name"), call.name)
    account = call.live
    _check_uid(request["metadata"].get("uid"), account)
    # 3. For which audiences, and how long.
    spec["audiences"] = spec.get("audiences") or list(cluster.settings.audiences)
    _check_spec(spec)
    # 4. What it hangs on.
    bound = _bound(call, spec.get("boundObjectRef"))
    # 5. No longer than this server lets a token live.
    longest = cluster.settings.max_expiration_seconds
    if spec["expirationSeconds"] > longest:
        call.warnings.append(
            f"requested expiration of {spec['expirationSeconds']} seconds shortened to "
            f"{longest} seconds"
        )
        spec["expirationSeconds"] = longest
    # 6. The token.
    seconds, now = spec["expirationSeconds"], cluster.clock.unix()
    token = cluster.issuer.issue(account, spec["audiences"], seconds, bound)
    known = {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
    entries = owned["metadata"].get("managedFields", [])
    managed = [{**entry, "subresource": "token"} for entry in entries]
    metadata = {**owned["metadata"], **known, "creationTimestamp": rfc3339(now)}
    answer = {
        "kind": TOKEN_REQUEST.kind,
        "apiVersion": TOKEN_REQUEST.group_version,
        "metadata": {**metadata, "managedFields": managed},
        "spec": {"boundObjectRef": None, **spec},
        "status": {"token": token, "expirationTimestamp": rfc3339(now + seconds)},
    }
    return ApiResponse.of(answer, 201, call.warnings)


def _invalid(name: str, cause: Cause) -> errors.StatusError:
    return errors.invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, name, [cause])


def _check_name(sent: str | None, name: str) -> None:
    if sent and sent != name:
        why = "must match the service account name if specified"
        raise _invalid(name, invalid_value("metadata.name", quote(sent), why))


def _check_uid(sent: str | None, account: Object) -> None:
    metadata = account["metadata"]
    if sent and sent != metadata["uid"]:
        why = (
            f"the UID in the token request ({sent}) does not match the UID of the service account "
            f"({metadata['uid']})"
        )
        raise errors.conflict(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, metadata["name"], why)


def _check_spec(spec: dict[str, Any]) -> None:
    seconds = spec["expirationSeconds"]
    if seconds < SHORTEST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
        raise _invalid("", invalid_value("spec.expirationSeconds", str(seconds), why))
    if seconds > LONGEST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
        raise _invalid("", invalid_value("spec.expirationSeconds", str(seconds), why))
    if attestations := spec.get("attestations"):
        why = "attestations may only be specified with a webhook bound object reference"
        shown = json.dumps(attestations, separators=(",", ":"))
        raise _invalid("", invalid_value("spec.attestations", shown, why))


def _bound(call: Call, reference: dict[str, str] | None) -> tuple[str, Object] | None:
    """The object that the token is to hang on. No right of the caller's is asked for it."""
    if reference is None:
        return None
    version, kind, name = (reference.get(key, "") for key in ("apiVersion", "kind", "name"))
    group, _, short = version.rpartition("/")
    if "/" in group:  # Go gives up on what is no version, and goes on without one
        group = short = ""
    found = _BINDABLE.get((group, kind))
    if found is None:
        shown = f"{group}/{short}, Kind={kind}"
        raise errors.bad_request(f"cannot bind token to object of type {shown}")
    if not name:
        raise errors.bad_request("Name parameter required.")
    if faults := path_segment_faults(name):
        raise errors.bad_request(f"Name parameter invalid: {quote(name)}: {faults[0]}")
    bound = call.cluster.store.get(found, call.namespace if found.namespaced else "", name)
    if bound is None:
        raise errors.not_found("", found.plural, name)
    if found is POD and bound["spec"].get("serviceAccountName") != call.name:
        raise errors.bad_request(
            f"cannot bind token for {SERVICE_ACCOUNT.kind.lower()} {quote(call.name)} to pod "
            "running with different serviceaccount name."
        )
    uid = reference.get("uid")
    if uid and uid != bound["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict("", kind, name, why)
    return kind.lower(), bound
