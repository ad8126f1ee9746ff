"""Five vehicles that could exist, each with a drive of its own."""

from codec.identity import check_digit, check_vehicle
from demo.vehicles import fleet


def test_five_vehicles_with_valid_check_digits():
    drives = fleet(60)
    assert {drive.model for drive in drives} > {"Model 3", "Model Y", "Model S Plaid", "Model X"}
    assert len({drive.vin for drive in drives}) == len({drive.name for drive in drives}) == len(drives) == 5
    for drive in drives:
        assert check_vehicle(drive.vin) == drive.vin
        assert drive.vin[8] == check_digit(drive.vin)


def test_firmware_versions_read_like_some():
    assert fleet(60)[0].firmware_version == "2026.38.3"


def test_each_has_its_own_drive_and_all_take_the_same_time():
    drives = fleet(60)
    assert len({drive.log for drive in drives}) == 5
    assert all(drive.log.exists() and dbc.exists() for drive in drives for dbc in drive.dbcs)
    assert all(fast.speed == slow.speed * 2 for fast, slow in zip(fleet(30), drives, strict=True))
