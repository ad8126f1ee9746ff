"""The plot has what the demo promises, in an order that can be played."""

from demo.script import AGENT_KILLS, CUTS, Deed, script


def test_three_cuts_and_each_side_killed_once():
    deeds = [act.deed for act in script(60, "000317")]
    assert CUTS == 3
    assert AGENT_KILLS == deeds.count(Deed.KILL_AGENT) == deeds.count(Deed.KILL_COLLECTOR) == 1
    assert {Deed.REFUSE, Deed.SILENCE} <= set(deeds)


def test_what_is_cut_or_killed_comes_back_within_the_drive():
    undo = {
        Deed.REFUSE: Deed.RESTORE,
        Deed.SILENCE: Deed.RESTORE,
        Deed.KILL_AGENT: Deed.START_AGENT,
        Deed.KILL_COLLECTOR: Deed.START_COLLECTOR,
    }
    acts = script(60, "000317")
    assert list(acts) == sorted(acts, key=lambda act: act.at_s)
    assert acts[-1].at_s < 60
    for position, act in enumerate(acts):
        if act.deed in undo:
            assert undo[act.deed] in [later.deed for later in acts[position + 1 :]]


def test_the_agent_dies_while_nothing_it_sends_arrives():
    deeds = [act.deed for act in script(60, "000317")]
    assert (
        deeds.index(Deed.SILENCE)
        < deeds.index(Deed.KILL_AGENT)
        < deeds.index(Deed.RESTORE, deeds.index(Deed.SILENCE))
    )


def test_acts_say_who():
    assert any("000317" in act.text for act in script(60, "000317"))
