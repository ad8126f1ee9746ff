import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.identity import VIN_CHARACTERS, check_digit, check_vehicle, vin_with_check_digit


@pytest.mark.parametrize("vin", ["1M8GDM9AXKP042788", "5GZCZ43D13S812715", "1HGCM82633A004352"])
def test_check_digits_of_real_vins(vin):
    assert check_digit(vin) == vin[8]
    assert check_vehicle(vin.lower()) == vin


@given(st.text(VIN_CHARACTERS, min_size=16, max_size=16))
def test_a_made_vin_has_the_check_digit_that_it_should(sixteen):
    vin = vin_with_check_digit(sixteen[:8], sixteen[8:])
    assert len(vin) == 17
    assert check_digit(vin) == vin[8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 characters"),
        ("1M8GDM9AXKP04278", "16 characters"),
        ("1M8GDM9AXKP04278O", "contains O"),
        ("asset:", "1 to 64"),
        ("asset:a b", "1 to 64"),
    ],
)
def test_what_is_no_identity_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        check_vehicle(text)


def test_assets_keep_their_name():
    assert check_vehicle("asset:dyno-7") == "asset:dyno-7"
