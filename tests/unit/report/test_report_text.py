from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.io.layouts.base import folder_plate
from tierflow.report import words
from tierflow.report.gallery import place_words
from tierflow.report.text import NONE, counted, listed, number, printable, score, share, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (12345.678, "12,346"),
        (0.5, "0.5"),
        (-1.6444, "-1.644"),
        (0.0001234, "0.0001234"),
        (float("nan"), NONE),
    ],
)
def test_numbers_have_four_significant_digits(value: float, expected: str) -> None:
    assert number(value) == expected


def test_tiny_and_huge_numbers_get_a_power_of_ten() -> None:
    assert number(2.4e-9) == "2.4 \u00d7 10\u207b\u2079"
    assert number(9.9e12, 3) == "9.9 \u00d7 10\u00b9\u00b2"


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0 B"), (999, "999 B"), (999_499, "999 kB"), (999_500, "1 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_decimal(value: float, expected: str) -> None:
    assert size(value) == expected


def test_a_share_never_rounds_some_to_none_or_nearly_all_to_all() -> None:
    assert share(1, 10**7) == "<0.1 %"
    assert share(10**7 - 1, 10**7) == ">99.9 %"
    assert share(10**7, 10**7) == "100 %"
    assert share(0, 10) == "0 %"


def test_scores_line_up() -> None:
    assert [score(1.0), score(0.0375), score(None)] == ["1.000", "0.037", ""]


def test_nouns_and_lists() -> None:
    assert counted(1, "image") == "1 image"
    assert counted(1204, "image") == "1,204 images"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == ""


def test_marks_that_reorder_text_become_visible() -> None:
    assert printable("gnp\u202efit.exe") == "gnp\\u202efit.exe"
    assert printable("a\nb\x00") == "a\\x0ab\\x00"
    assert printable("caf\u00e9 \u03bcm.tif") == "caf\u00e9 \u03bcm.tif"


@given(st.text())
def test_printable_text_is_printable_and_can_be_written(text: str) -> None:
    shown = printable(text)
    assert shown.replace(" ", "").isprintable() or all(c.isspace() for c in shown if not c.isprintable())
    shown.encode("utf-8")


def test_a_plate_that_no_name_tells_of_is_no_lone_dot() -> None:
    assert words.plate(folder_plate("")) == "(top folder)"
    assert words.plate("P\n7") == "P\\x0a7"
    assert place_words({"plate": folder_plate(""), "well": "B03", "site": 2}) == "B03 \u00b7 site 2"
    assert place_words({"plate": "P7", "well": None}) == "P7"
