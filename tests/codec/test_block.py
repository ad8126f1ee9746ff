import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.block import AS_BEFORE, Header, Keyframe, parse_header, render_header
from codec.errors import DamagedBlock, UnknownBlock

SMALL = st.integers(0, 2**40)
HASHES = st.sampled_from([b"", b"0123456789abcdef"])
KEYFRAMES = st.builds(
    Keyframe,
    clock_offset_ns=st.integers(-(2**50), 2**50).map(lambda x: x * 1000), clock_synchronised=st.booleans(), guards_hash=HASHES,
    prior_hash=HASHES, first_record=SMALL, previous_digest=st.integers(0, 2**32 - 1), named=st.just(value=True),
)  # fmt: skip


@given(SMALL, st.integers(1, 4096), KEYFRAMES | st.none(), st.integers(0, 255))
def test_a_header_comes_back(start, count, keyframe, digest):
    rendered = render_header(Header(start, count, keyframe), digest)
    parsed, found, at = parse_header(rendered, 0, b"", b"")
    assert (parsed, found, at) == (Header(start, count, keyframe), digest, len(rendered))


def test_what_a_keyframe_does_not_name_is_the_streams_own():
    keyframe = Keyframe(5_000, True, b"g" * 16, b"p" * 16, 10, 7, named=False, facts_offset_ns=5_000)
    rendered = render_header(Header(10, 500, keyframe), 1)
    assert len(rendered) == 11
    assert parse_header(rendered, 5_000, b"g" * 16, b"p" * 16)[0].keyframe == keyframe


def test_a_block_in_the_middle_of_a_group_has_two_to_four_bytes_of_header():
    assert len(render_header(Header(0, 500, None), 1)) == 4
    assert len(render_header(Header(0, AS_BEFORE, None), 1)) == 2


@given(st.binary(max_size=40))
def test_any_bytes_give_a_header_or_one_of_two_errors(content):
    try:
        header, _, at = parse_header(content, 0, b"", b"")
    except (DamagedBlock, UnknownBlock):
        return
    assert at <= len(content)
    assert header.record_count >= 0


def test_a_keyframe_cannot_refer_to_a_block_before_it():
    with pytest.raises(DamagedBlock, match="refers"):
        parse_header(b"\x91\x00\x01\x00", 0, b"", b"")


def test_what_does_not_belong_in_a_header_is_refused():
    with pytest.raises(DamagedBlock, match="names guards"):
        parse_header(b"\x41\x00\x01\x00\x00", 0, b"", b"")
    for start, first_record, offset in [(5, -1, 0), (5, 0, 2**63 // 1000 * 1000 + 1000)]:
        keyframe = Keyframe(offset, True, b"", b"", first_record, 0)
        with pytest.raises(DamagedBlock, match="impossible"):
            parse_header(render_header(Header(start, 1, keyframe), 0), 0, b"", b"")
