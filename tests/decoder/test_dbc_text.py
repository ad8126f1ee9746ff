"""What is wrong with DBCs in the world, and what becomes of it."""

from __future__ import annotations

import pytest
from cantools.database.can.formats import dbc as dbc_format
from hypothesis import given
from hypothesis import strategies as st

from decoder.dbc_text import repair

MESSAGE = "BO_ 256 Engine: 8 X"
SIGNAL = ' SG_ Speed : 0|16@1+ (0.1,0) [0|250] "km/h" X'


def repaired(*lines: str) -> tuple[dict[str, object], list[str]]:
    text, warnings = repair("\n".join(lines))
    return {
        message.name: message for message in dbc_format.load_string(text, strict=False).messages
    }, warnings


def test_what_follows_the_grammar_is_not_commented_on():
    messages, warnings = repaired(
        'VERSION "1"', "NS_ :", "\tCM_", "\tBA_DEF_", "BS_:", "BU_: A B", MESSAGE, SIGNAL,
        'CM_ SG_ 256 Speed "of the', 'BO_ car";', 'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;', 'BA_DEF_DEF_ "GenMsgCycleTime" 0;',
        'BA_ "GenMsgCycleTime" BO_ 256 20;', 'VAL_ 256 Speed 65535 "SNA" 65534 "a \\"word\\"" ;',
    )  # fmt: skip
    assert warnings == []
    message = messages["Engine"]
    assert message.cycle_time == 20
    signal = message.signals[0]
    assert (signal.name, signal.scale, signal.minimum, signal.maximum, signal.unit) == (
        "Speed",
        0.1,
        0,
        250,
        "km/h",
    )
    assert signal.comment == "of the\nBO_ car"
    assert {count: str(word) for count, word in signal.choices.items()} == {65535: "SNA", 65534: "a 'word'"}


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        (['CM_ SG_ 256 "on what?";', MESSAGE, SIGNAL], 'comment on nothing, left out: CM_ SG_ 256 "on what?";'),
        (['CM_ 256 "of no kind";', MESSAGE, SIGNAL], "comment on nothing"),
        ([MESSAGE, SIGNAL, 'VAL_ 256 Gone 1 "x" ;'], "line 3: VAL_ left out: Engine has no signal Gone"),
        ([MESSAGE, SIGNAL, 'VAL_ 257 Speed 1 "x" ;'], "VAL_ left out: there is no message 257"),
        ([MESSAGE, SIGNAL, "SIG_VALTYPE_ 256 Gone : 1;"], "SIG_VALTYPE_ left out: Engine has no signal Gone"),
        ([MESSAGE, SIGNAL, "SIG_VALTYPE_ 256 Speed2 : 1;"], "has no signal Speed2"),
        ([MESSAGE, SIGNAL, "BO_ what: is this"], "line 3: not a message, left out with its signals"),
        ([MESSAGE, SIGNAL, " SG_ Bad : 0|16 (1,0)"], "line 3: not a signal, left out of Engine"),
        ([MESSAGE, SIGNAL, ' SG_ None : 0|0@1+ (1,0) [0|0] "" X'], "signal Engine.None left out: it has no bits"),
        ([MESSAGE, SIGNAL, ' SG_ Far : 510|8@1+ (1,0) [0|0] "" X'], "lies beyond the 64 bytes"),
        ([MESSAGE, SIGNAL, "BO_ 4294967295 Odd: 8 X"], "message Odd left out: 4294967295 is no 11-bit or 29-bit ID"),
        ([MESSAGE, SIGNAL, "BO_ 256 Again: 8 X"], "message Again left out: its ID 0x100 belongs to Engine already"),
        ([MESSAGE, SIGNAL, 'VAL_ 256 Speed 1 "x" what 2 "y" ;'], "value table of Speed, not read: what"),
        ([MESSAGE, SIGNAL, 'VAL_ 256 Speed 1 "x" 1e400 "y" ;'], 'value table of Speed, not read: 1e400 "y"'),
        ([MESSAGE, SIGNAL, ' SG_ Inf : 0|8@1+ (1e400,0) [0|0] "" X'], "signal Engine.Inf left out: its factor or offset"),
        ([MESSAGE, SIGNAL, ' SG_ Inf : 0|8@1+ (1,-1e400) [0|0] "" X'], "signal Engine.Inf left out: its factor or offset"),
        ([MESSAGE, SIGNAL, ' SG_ Far m99999999999999999999 : 0|8@1+ (1,0) [0|0] "" X'], "no multiplexor has its value"),
        ([MESSAGE, SIGNAL, f"BO_ {'9' * 5000} Odd: 8 X"], "not a message, left out"),
        ([MESSAGE, SIGNAL, f' SG_ Far : 0|{"9" * 5000}@1+ (1,0) [0|0] "" X'], "not a signal, left out of Engine"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out_and_named(lines, warning):
    messages, warnings = repaired(*lines)
    assert [signal.name for signal in messages["Engine"].signals] == ["Speed"]
    assert len(warnings) == 1
    assert warning in warnings[0]


@pytest.mark.parametrize(
    ("number", "length", "said"),
    [
        (256, 2147483648, True),
        (256, 65, True),
        (256, 64, False),
        (0x80000100, 1785, False),
        (0x80000100, 1786, True),
    ],
)
def test_a_message_is_no_longer_than_a_frame(number, length, said):
    messages, warnings = repaired(f"BO_ {number} Huge: {length} X", SIGNAL, f'VAL_ {number} Speed 1 "x" ;')
    assert messages["Huge"].length == 64
    assert messages["Huge"].signals[0].choices
    warning = f"line 1: message Huge: {length} bytes are more than any message has; taken as 64"
    assert warnings == ([warning] if said else [])


def test_ranges_and_cycles_beyond_every_number_are_taken_as_none():
    messages, warnings = repaired(
        MESSAGE, SIGNAL.replace("250", "1e400"), 'BA_ "GenMsgCycleTime" BO_ 256 1e400;', 'BA_ "VFrameFormat" BO_ 256 "²";'
    )  # fmt: skip
    assert (messages["Engine"].signals[0].minimum, messages["Engine"].signals[0].maximum) == (None, None)
    assert messages["Engine"].cycle_time == 3_600_000
    assert len(warnings) == 1


def test_raw_values_of_64_bits_are_kept_to_the_last_digit():
    messages, _ = repaired(MESSAGE, SIGNAL, 'VAL_ 256 Speed 9223372036854775807 "SNA" ;')
    assert list(messages["Engine"].signals[0].choices) == [9223372036854775807]


def test_a_message_has_no_end_of_signals(monkeypatch):
    monkeypatch.setattr("decoder.dbc_text.SIGNALS_MAX", 2)
    messages, warnings = repaired(MESSAGE, SIGNAL, SIGNAL, SIGNAL)
    assert len(messages["Engine"].signals) == 2
    assert warnings[-1] == "line 4: signal Engine.Speed left out: its message has 2 signals already"


def test_a_number_of_a_hundred_thousand_digits_is_read_in_no_time():
    _, warnings = repaired(MESSAGE, SIGNAL, f'VAL_ 256 Speed {"9" * 100_000} 1 "x" ;')
    assert len(warnings) == 1


def test_a_29_bit_id_without_its_flag_is_taken_as_one():
    messages, warnings = repaired("BO_ 316588031 Chime: 8 X", SIGNAL, 'VAL_ 316588031 Speed 1 "a" ;')
    assert messages["Chime"].is_extended_frame
    assert messages["Chime"].frame_id == 316588031
    assert messages["Chime"].signals[0].choices
    assert warnings == ["line 1: message Chime: bit 31 is missing in its 29-bit ID 0x12DEBFFF; taken as set"]


def test_numbers_may_begin_with_their_point():
    messages, warnings = repaired(MESSAGE, ' SG_ Torque : 0|8@1+ (.25,-.5) [-.5|+.75] "Nm" X')
    signal = messages["Engine"].signals[0]
    assert (signal.scale, signal.offset, signal.minimum, signal.maximum) == (0.25, -0.5, -0.5, 0.75)
    assert "without a digit before its point" in warnings[0]


def test_names_that_are_none_are_changed_where_they_stand_and_where_they_are_meant():
    messages, warnings = repaired(
        "BO_ 256 2017_5: 8 X", ' SG_ 0_COUNT : 0|8@1+ (1,0) [0|0] "" X', ' SG_ Lamp-On : 8|1@1+ (1,0) [0|0] "" X',
        ' SG_ FILTER : 9|1@1+ (1,0) [0|0] "" X', 'VAL_ 256 0_COUNT 1 "one" ;',
    )  # fmt: skip
    message = messages["_2017_5"]
    assert [signal.name for signal in message.signals] == ["_0_COUNT", "Lamp_On", "FILTER_"]
    assert message.signals[0].choices
    assert len(warnings) == 4


def test_signals_and_messages_that_stand_twice_get_numbers():
    messages, warnings = repaired(
        MESSAGE,
        SIGNAL,
        SIGNAL.replace("0|16", "16|16"),
        "BO_ 257 Engine: 8 X",
        SIGNAL,
        'VAL_ 256 Speed 1 "x" ;',
    )
    assert [signal.name for signal in messages["Engine"].signals] == ["Speed", "Speed_2"]
    assert all(signal.choices for signal in messages["Engine"].signals)
    assert messages["Engine_2"].frame_id == 257
    assert len(warnings) == 2


def test_a_missing_semicolon_costs_nothing():
    messages, _ = repaired(
        'CM_ "no end"', MESSAGE, SIGNAL, 'VAL_ 256 Speed 1 "x"', "BO_ 257 Other: 8 X", SIGNAL
    )
    assert set(messages) == {"Engine", "Other"}
    assert messages["Engine"].signals[0].choices


def test_a_quote_that_is_never_closed_ends_where_the_next_statement_begins():
    messages, warnings = repaired('CM_ "never closed;', "more of it", MESSAGE, SIGNAL)
    assert set(messages) == {"Engine"}
    assert warnings == ["line 1: a quote of this CM_ is never closed; closed at the end of line 2"]


def test_several_statements_may_stand_on_one_line():
    messages, warnings = repaired(MESSAGE, SIGNAL, 'VAL_ 256 Speed 1 "a; b" ; SIG_VALTYPE_ 256 Speed : 1;')
    assert messages["Engine"].signals[0].is_float
    assert messages["Engine"].signals[0].choices
    assert warnings == []


def test_long_names_take_the_place_of_short_ones():
    messages, _ = repaired(
        "BO_ 256 Sho: 8 X", ' SG_ Swi M : 0|8@1+ (1,0) [0|0] "" X', ' SG_ Val m3 : 8|8@1+ (1,0) [0|0] "" X',
        'BA_ "SystemMessageLongSymbol" BO_ 256 "MessageWithALongName";', 'BA_ "SystemSignalLongSymbol" SG_ 256 Swi "SwitchWithALongName";',
    )  # fmt: skip
    message = messages["MessageWithALongName"]
    assert message.decode(b"\x03\x07\0\0\0\0\0\0") == {"SwitchWithALongName": 3, "Val": 7}


class TestMultiplexing:
    LINES = (MESSAGE, ' SG_ Page {} : 0|8@1+ (1,0) [0|0] "" X', ' SG_ A m1 : 8|8@1+ (1,0) [0|0] "" X')

    def lines(self, mark):
        return [line.format(mark) for line in self.LINES]

    def test_a_multiplexor_written_small_is_one_all_the_same(self):
        messages, warnings = repaired(*self.lines("m"), "SG_MUL_VAL_ 256 A Page 1-1;")
        assert messages["Engine"].decode(b"\x01\x05\0\0\0\0\0\0") == {"Page": 1, "A": 5}
        assert "taken as the multiplexor" in warnings[0]

    def test_a_signal_whose_value_is_not_given_is_left_out(self):
        messages, warnings = repaired(
            *self.lines("M"), ' SG_ B m : 16|8@1+ (1,0) [0|0] "" X', 'VAL_ 256 B 1 "x" ;'
        )
        assert [signal.name for signal in messages["Engine"].signals] == ["Page", "A"]
        assert "signal Engine.B left out" in warnings[0]

    def test_or_gets_it_from_the_extended_values(self):
        messages, _ = repaired(
            *self.lines("M"), ' SG_ B m : 16|8@1+ (1,0) [0|0] "" X', "SG_MUL_VAL_ 256 B Page 4-6;"
        )
        assert messages["Engine"].get_signal_by_name("B").multiplexer_ids == [4, 5, 6]

    def test_ranges_end_with_what_the_multiplexor_can_hold(self):
        messages, _ = repaired(*self.lines("M"), "SG_MUL_VAL_ 256 A Page 250-4294967295;")
        assert sorted(messages["Engine"].get_signal_by_name("A").multiplexer_ids) == [1, *range(250, 256)]

    def test_no_multiplexor_at_all_is_said(self):
        _, warnings = repaired(*self.lines(""))
        assert "no multiplexor" in warnings[0]

    def test_values_by_the_million_are_refused(self):
        lines = [
            self.lines("M")[0],
            ' SG_ Page M : 0|32@1+ (1,0) [0|0] "" X',
            self.lines("M")[2].replace("8|8", "32|8"),
        ]
        messages, warnings = repaired(*lines, "SG_MUL_VAL_ 256 A Page 0-4000000000;")
        assert [signal.name for signal in messages["Engine"].signals] == ["Page"]
        assert "more than 4096 multiplexor values" in warnings[0]


class TestFrameFormats:
    DEFINITION = 'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";'

    @pytest.mark.parametrize(
        "lines",
        [
            (DEFINITION, 'BA_DEF_DEF_ "VFrameFormat" "J1939PG";'),
            (DEFINITION, 'BA_ "VFrameFormat" BO_ 2566844926 3;'),
            ('BA_DEF_ "ProtocolType" STRING ;', 'BA_ "ProtocolType" "J1939";'),
        ],
    )
    def test_a_message_is_of_j1939_by_its_format_or_by_the_protocol_of_the_file(self, lines):
        messages, _ = repaired("BO_ 2566844926 CCVS1: 8 X", SIGNAL, *lines)
        assert messages["CCVS1"].protocol == "j1939"

    def test_and_else_is_not(self):
        messages, _ = repaired(
            "BO_ 2566844926 CCVS1: 8 X", SIGNAL, self.DEFINITION, 'BA_DEF_DEF_ "VFrameFormat" "";'
        )
        assert messages["CCVS1"].protocol is None


def test_floats_have_16_32_or_64_bits():
    messages, warnings = repaired(
        MESSAGE, SIGNAL, ' SG_ Odd : 16|12@1+ (1,0) [0|0] "" X', "SIG_VALTYPE_ 256 Odd : 1;"
    )
    assert not messages["Engine"].get_signal_by_name("Odd").is_float
    assert warnings == ["line 4: signal Odd cannot be a float of 12 bits; taken as an integer"]


PIECES = [MESSAGE, SIGNAL, 'VAL_ 256 Speed 1 "x" ;', 'CM_ SG_ 256 Speed "a";', "SG_MUL_VAL_ 256 Speed Page 1-3;", ' SG_ Page M : 0|8@1+ (1,0) [0|0] "" X',
          ' SG_ A m1 : 8|8@1+ (1,0) [0|0] "" X', "SIG_VALTYPE_ 256 Speed : 1;", 'BA_ "GenMsgCycleTime" BO_ 256 10;', '"', ";", "BO_", "SG_ ", "\\", "m", "|", "0"]  # fmt: skip


@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=12),
    st.sampled_from(["\n", " "]),
)
def test_whatever_the_text_the_repaired_one_follows_the_grammar(pieces, between):
    text, _ = repair(between.join([MESSAGE, SIGNAL, *pieces]))
    dbc_format.load_string(text, strict=False)
