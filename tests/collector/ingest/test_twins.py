"""Which ticks other outboxes have of a stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.twins import NOWHERE, Elsewhere

blocks = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 9)).map(lambda block: (block[0], sum(block))), max_size=8
)


@given(blocks, st.integers(0, 70), st.integers(1, 20))
def test_it_is_what_counting_ticks_says(there, first, length):
    ticks = {tick for start, end in there for tick in range(start, end)}
    elsewhere = Elsewhere.of(frozenset({1}), there)
    asked = range(first, first + length)
    assert elsewhere.count(asked.start, asked.stop) == len(ticks & set(asked))
    leading = max((index + 1 for index, tick in enumerate(asked) if tick in ticks), default=0)
    assert elsewhere.leading(asked.start, asked.stop) == leading


def test_nowhere_has_nothing():
    assert (NOWHERE.count(0, 100), NOWHERE.leading(0, 100)) == (0, 0)
