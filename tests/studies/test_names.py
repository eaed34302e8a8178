from __future__ import annotations

import pytest

from echozoo.studies.names import camus_name, still_of, view_of, view_of_any


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("patient0001_2CH_ED", "2CH"),
        ("patient0001-4ch", "4CH"),
        ("A4C_rest", "4CH"),
        ("ap2", "2CH"),
        ("AP 4 CH", "4CH"),
        ("Apical two chamber view", "2CH"),
        ("4-chamber", "4CH"),
        ("apical_four_chamber", "4CH"),
        ("APLAX 3", "3CH"),
        ("apical_long_axis", "3CH"),
        ("PLAX", "PLAX"),
        ("psax mid", "PSAX"),
        ("A2C and A4C", None),
        ("IM_0042", None),
        ("C2CHX", None),
        ("24CH", None),
    ],
)
def test_views_in_names(name: str, view: str | None) -> None:
    assert view_of(name) == view


def test_the_first_name_that_says_one() -> None:
    assert view_of_any(["", "Resting", "A2C", "4CH"]) == "2CH"
    assert view_of_any([]) is None


def test_names_of_camus() -> None:
    assert camus_name("patient0001_4CH_half_sequence") == ("patient0001", "HALF_SEQUENCE")
    assert camus_name("p1_2CH") == ("p1", "")
    assert camus_name("A4C") is None
    assert still_of("p1_2CH_ed") == "ED"
    assert still_of("p1_2CH") is still_of("ED") is None
