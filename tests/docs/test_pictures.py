"""The picture of the components is the one that its program draws, and fits on a phone."""

from __future__ import annotations

import re

from tools.components import WIDTH, picture
from tools.docs.pages import ROOT

PHONE = 390
READABLE = 12


def test_the_picture_is_the_one_that_its_program_draws() -> None:
    assert (ROOT / "docs" / "components.svg").read_text() == picture()


def test_its_text_is_legible_on_a_phone() -> None:
    sizes = [int(size) for size in re.findall(r"(\d+)px", picture())]
    assert min(sizes) * PHONE / WIDTH >= READABLE
