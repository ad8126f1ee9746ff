"""The vectors in this folder are what today's codec writes and reads, to the bit; the plain decoder reads them too."""

from __future__ import annotations

import json

import pytest

from codec.layout import MODEL_NAMES
from codec.schema import Kind
from tests.vectors import check, document_example
from tests.vectors.plain import plain_decoder
from tests.vectors.vector import HERE, load, names

SIZE_MAX = 200_000  # of the folder: they are read by people, too


def test_there_are_vectors_of_every_model_kind_and_state():
    vectors = [load(name) for name in names()]
    assert {signal.kind for vector in vectors for signal in vector.schema.signals} == set(Kind)
    states = {int(s) for vector in vectors for given in vector.inputs for s in given.records.states.ravel()}
    assert states == {0, 1, 2, 3}
    assert {model for vector in vectors for model in vector.models.values()} >= set(MODEL_NAMES)
    assert sum(path.stat().st_size for path in HERE.glob("*.json")) < SIZE_MAX


@pytest.mark.parametrize("name", names())
def test_the_codec_makes_the_same_blocks_and_records(name):
    assert check.differences(name) == []


@pytest.mark.parametrize("name", names())
def test_the_plain_decoder_reads_the_same_records(name):
    vector = load(name)
    decoder = plain_decoder(vector.schema, vector.facts, vector.prior)
    for seq, (given, output) in enumerate(zip(vector.inputs, vector.outputs, strict=True)):
        block = decoder.decode(seq, bytes.fromhex(output["content"]))
        assert block.counts == [[int(x) for x in column] for column in output["decoded"]]
        assert block.states == given.records.states.T.tolist()
        assert decoder.group_digest == output["group_digest"]


def test_the_check_can_fail(tmp_path, monkeypatch):
    document = json.loads((HERE / "models.json").read_text())
    document["blocks"][1]["sampled"][2][5] += 1000
    (tmp_path / "models.json").write_text(json.dumps(document))
    monkeypatch.setattr("tests.vectors.vector.HERE", tmp_path)
    assert "models: block 1: content differs" in check.differences("models")
    assert check.main() == 1


def test_the_documents_example_is_what_the_codec_writes():
    text = document_example.DOCUMENT.read_text()
    assert text.partition(document_example.HEADING)[2] == document_example.example(), "make vectors"
