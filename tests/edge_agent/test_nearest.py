from __future__ import annotations

from edge_agent.nearest import nearest


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert nearest("vehiclespeed", ["VehicleSpeed", "Gear"]) == "; did you mean VehicleSpeed?"
    assert nearest("paht", ["path"], prefix="X_") == "; did you mean X_PATH?"


def test_where_none_is_near_all_are_listed_up_to_a_limit():
    assert nearest("zzz", ["a", "b"]) == "; there are a, b"
    assert nearest("zzz", map(str, range(100))).endswith("and 88 more")
    assert nearest("zzz", []) == ""
