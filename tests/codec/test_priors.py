import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DamagedBlock, UnknownBlock
from codec.layout import CONTEXTS
from codec.priors import Prior, built_in, untrained
from codec.range_coder import USES_MAX
from codec.residuals import ORDER
from codec.stream import StreamDecoder, StreamEncoder, StreamFacts
from codec.training import train
from tests.codec.test_stream import drive


def test_a_prior_comes_back_from_its_bytes_under_the_same_name():
    rng = np.random.default_rng(1)
    contexts = rng.integers(32, 65504, (3, CONTEXTS, 3)).astype(np.uint16)
    contexts[..., 2] %= USES_MAX + 1
    prior = Prior(contexts, rng.integers(-99, 99, (3, ORDER)))
    again = Prior.from_bytes(prior.to_bytes())
    assert again.hash == prior.hash
    assert np.array_equal(again.contexts, prior.contexts)


@given(st.binary(max_size=64))
def test_other_bytes_are_no_prior(content):
    with pytest.raises(DamagedBlock):
        Prior.from_bytes(content)


def test_the_built_in_prior_has_one_row_for_every_column():
    assert built_in().contexts.shape == (1, CONTEXTS, 3)


def test_a_prior_trained_on_a_drive_makes_its_keyframes_smaller_and_is_wanted_by_name():
    schema, records = drive(120)
    trained = train([(schema, records)], pooled=False)
    facts = StreamFacts(b"stream-id-of-16b", 0, records.first_tick, prior_hash=trained.hash)
    sizes = {}
    for name, prior in (("untrained", untrained()), ("trained", trained)):
        encoder = StreamEncoder(schema, facts, prior=prior)
        sizes[name] = len(encoder.encode(records.slice(0, 500)).content)
    assert sizes["trained"] < sizes["untrained"]
    block = StreamEncoder(schema, facts, prior=trained).encode(records.slice(0, 500))
    with pytest.raises(UnknownBlock) as caught:
        StreamDecoder(schema, facts).decode(0, block.content)
    assert caught.value.missing == ("prior", trained.hash)
    StreamDecoder(schema, facts, priors={trained.hash: trained}).decode(0, block.content)
