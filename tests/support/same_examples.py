"""Hypothesis without what it reads in our source, so that a change elsewhere changes no example."""

from __future__ import annotations

from hypothesis.internal.conjecture import providers


def leave_out_constants() -> None:
    """Try no constants of the modules that are imported, of which a single file's run has fewer.

    Hypothesis has no setting for it.
    """
    none = providers._local_constants
    assert len(none) == 0, "a test has run already"
    assert callable(providers._get_local_constants), "Hypothesis has it elsewhere"
    providers._get_local_constants = lambda: none
