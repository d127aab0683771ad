"""Adopting an EKF deployments repository: the edit of the published guide, and nothing else.

Nothing is written here.
"""

from collections.abc import Mapping, Sequence

from daypass._core.errors import UsageError
from daypass.deploy.edits import Edit
from daypass.deploy.ekf import FOLDERS, Overlay


def adopt_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> list[Edit]:
    """The guide's edit: these hosts, by domain, in the patches of the overlays.

    Raises UsageError for a domain that the repository has not, or one host for both; PatchError
    where a patch cannot be edited.
    """
    after = resulting_hosts(overlays, hosts)
    return [
        Edit(
            path=overlay.patch_path,
            before=overlay.patch.text,
            after=overlay.patch.with_host(after[overlay.domain]),
        )
        for overlay in overlays
        if after[overlay.domain] != overlay.patch.host
    ]


def resulting_hosts(overlays: Sequence[Overlay], hosts: Mapping[str, str]) -> dict[str, str]:
    """The host of each domain of the repository, once these are in it. Raises UsageError."""
    present = {overlay.domain: overlay.patch.host for overlay in overlays}
    for domain in hosts.keys() - present.keys():
        raise UsageError(f"this repository has no {FOLDERS[domain]}", f"leave --{domain}-host out")
    after = {**present, **hosts}
    if len(set(after.values())) < len(after):
        raise UsageError(
            f"{after['ekf']} would be the host of both domains",
            "give each its own with --ekf-host and --serving-host",
        )
    return after
