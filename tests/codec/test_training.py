import numpy as np

from codec.priors import Prior, built_in
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from codec.training import TRUST_MAX, Learnt, learn, train, train_built_in
from tests.codec.test_stream import drive


def blocks_of(schema, records, size=50, group=4):
    encoder = StreamEncoder(schema, StreamFacts(bytes(16), 0, records.first_tick))
    parts = [records.slice(at, min(at + size, len(records))) for at in range(0, len(records), size)]
    return [(k, encoder.encode(part, keyframe=k % group == 0).content) for k, part in enumerate(parts)]


def learnt_from(schema, records, blocks):
    learnt = Learnt(len(schema.signals))
    learn(learnt, StreamDecoder(schema, StreamFacts(bytes(16), 0, records.first_tick)), blocks)
    return learnt


def test_a_reader_of_stored_blocks_learns_what_their_encoder_does():
    schema, records = drive(12)
    stored = learnt_from(schema, records, blocks_of(schema, records))
    assert stored.groups == 3
    assert stored.worthwhile().hash == train([(schema, records)], blocks=(50,), group=200).hash


def test_a_damaged_block_costs_the_rest_of_its_group():
    schema, records = drive(12)
    blocks = blocks_of(schema, records)
    blocks[4] = (4, b"damaged")  # the second keyframe
    assert learnt_from(schema, records, blocks).groups == 2
    blocks = blocks_of(schema, records)
    blocks[6] = (6, b"damaged")
    assert learnt_from(schema, records, blocks).groups == 3


def test_what_has_to_be_sent_is_small_and_comes_back():
    schema, records = drive(120)
    prior = train([(schema, records)], blocks=(500,))
    changed = np.any(prior.contexts != built_in().contexts, axis=-1)
    assert 0 < np.count_nonzero(changed) < 400
    assert len(prior.content) < 1200
    assert prior.contexts[changed][:, 2].max() <= TRUST_MAX
    again = Prior.from_bytes(prior.content, len(schema.signals))
    assert np.array_equal(again.contexts, prior.contexts)
    assert np.array_equal(again.weights, prior.weights)


def test_nothing_learnt_changes_nothing():
    assert np.array_equal(Learnt(2).worthwhile().contexts, np.repeat(built_in().contexts, 2, axis=0))


def test_the_built_in_prior_has_one_row_whatever_it_is_trained_on():
    schema, records = drive(20)
    prior = train_built_in([(schema, records)], blocks=(100,), group=200)
    assert prior.contexts.shape[0] == 1
