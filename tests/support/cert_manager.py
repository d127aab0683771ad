"""cert-manager's kinds on a control plane of the tests, with nothing behind them."""

from __future__ import annotations

from tools.crds import Module, _ensure

from support.controlplane import ControlPlane
from support.crds import _install

CERT_MANAGER = Module(
    path="github.com/cert-manager/cert-manager",
    version="v1.20.0",
    sum="h1:czZamsFJ1YdKPhpv+SopJZN9t3W68vQBnFYUevSHGqY=",
    files="deploy/crds/cert-manager.io_*.yaml",
)


def install_cert_manager(plane: ControlPlane) -> None:
    """Its kinds, served when this returns."""
    _install(plane, _ensure(CERT_MANAGER))
