import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DamagedBlock
from codec.journal import pack_records, packed_extent, unpack_records
from codec.records import Records


def some_records(seed, count=50, signals=4):
    rng = np.random.default_rng(seed)
    counts = rng.integers(-(2**63), 2**63 - 1, (count, signals))
    return Records(
        int(rng.integers(-(2**62), 2**62)), counts, rng.integers(0, 4, (count, signals)).astype(np.uint8)
    )


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 6))
def test_records_come_back_to_the_bit(seed, count, signals):
    records = some_records(seed, count, signals)
    packed = pack_records(records)
    assert unpack_records(packed, signals).equals(records)
    assert packed_extent(packed) == (records.first_tick, count)


@given(st.data())
def test_changed_bytes_are_found(data):
    packed = bytearray(pack_records(some_records(1)))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedBlock):
        unpack_records(bytes(packed), 4)
    with pytest.raises(DamagedBlock):
        packed_extent(bytes(packed))


@given(st.binary(max_size=100))
def test_any_bytes_give_records_or_the_one_error(content):
    with pytest.raises(DamagedBlock):
        unpack_records(content, 4)
    with pytest.raises(DamagedBlock):
        packed_extent(content)


def test_records_of_another_schema_are_refused():
    with pytest.raises(DamagedBlock, match="expected 5"):
        unpack_records(pack_records(some_records(1)), 5)


def test_a_held_second_packs_small():
    records = Records(0, np.full((50, 30), 1234), np.zeros((50, 30), np.uint8))
    assert len(pack_records(records)) < 150
