"""The decoder's benchmark on a drive of ours."""

from __future__ import annotations

import json

from benchmarks import decoder
from benchmarks.recordings import our_car


def test_both_paths_equal_cantools(monkeypatch):
    monkeypatch.setattr(decoder, "FRAMES_MAX", 5000)
    monkeypatch.setattr(decoder, "REPEAT_S", 0.01)
    car = our_car()
    found = decoder.measure(car.logs[0], car.dbcs)
    assert {one.path for one in found} == {"bulk", "live"}
    assert {one.call_frames for one in found} == {100, 1000, 5000}
    assert all(one.mismatches == 0 and one.values_compared > 1000 for one in found)
    document = decoder.report(found, None)
    head = {"frames", "frames_per_s", "cantools_frames_per_s", "ratio", "values_compared", "mismatches"}
    assert set(document) == head | {"rows", "note"}
    json.dumps(document, allow_nan=False)
