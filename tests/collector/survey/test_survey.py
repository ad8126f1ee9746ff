import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from collector.survey import Surveys, survey_of
from collector.survey.survey import others
from tests.codec.strategies import records_of, schemas


@given(schemas(), st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_it_is_what_the_values_come_to_one_by_one(schema, blocks, count, seed):
    rng = np.random.default_rng(seed)
    runs = [records_of(rng, schema, 0, count) for _ in range(blocks)]
    counts, states = (
        np.stack([np.ascontiguousarray(part.T) for part in parts])
        for parts in ([run.counts for run in runs], [run.states for run in runs])
    )
    surveys = Surveys(schema, counts, states)
    for row, run in enumerate(runs):
        survey, alone = surveys.of(row), survey_of(schema, run)
        assert all(np.array_equal(*pair) for pair in zip(survey, alone, strict=True))
        for column, signal in enumerate(schema.signals):
            known = run.states[:, column] == Availability.AVAILABLE
            values = run.counts[known, column]
            if signal.kind is not Kind.SCALED:
                values = physical(signal, values)
                values = values[np.isfinite(values)]
                ends = survey.least, survey.most
                low, high = (end[others(schema).index(column)] for end in ends)
            else:
                low, high = survey.lows[column], survey.highs[column]
            assert survey.numbers[column] == len(values)
            assert np.isclose(
                survey.sums[column], sum(map(float, values)), rtol=1e-9, atol=1e-9 * count * 2**47
            )
            if len(values):
                assert (low, high) == (values.min(), values.max())
            else:
                assert low > high


def test_values_whose_sum_is_too_large_have_none_and_keep_their_ends():
    schema = Schema(10, (Signal("Double", kind=Kind.FLOAT64),))
    counts = np.array([[1e308], [1e308], [-1e308]]).view(np.int64)
    survey = survey_of(schema, Records(0, counts, np.zeros((3, 1), np.uint8)))
    assert not np.isfinite(survey.sums[0])
    assert (survey.numbers[0], survey.least[0], survey.most[0]) == (3, -1e308, 1e308)
