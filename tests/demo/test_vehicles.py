"""Five vehicles that could exist."""

from codec.identity import check_digit, check_vehicle
from demo.vehicles import FLEET


def test_five_vehicles_with_valid_check_digits_and_drives_of_their_own():
    assert [vehicle.model for vehicle in FLEET][:4] == ["Model 3", "Model Y", "Model S Plaid", "Model X"]
    assert len({vehicle.vin for vehicle in FLEET}) == len({vehicle.drive for vehicle in FLEET}) == 5
    for vehicle in FLEET:
        assert check_vehicle(vehicle.vin) == vehicle.vin
        assert vehicle.vin[8] == check_digit(vehicle.vin)
