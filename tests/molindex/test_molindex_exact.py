"""The fast search equals a whole scan by RDKit, to the last bit and in the order of ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import molindex.exact
from molindex.bits import count_bits, fold
from molindex.errors import InputError
from molindex.exact import ExactSearch, SortedFingerprints

METRICS = ("dice", "tanimoto")


def random_codes(seed: int, rows: int, bits: int, density: float, families: int) -> np.ndarray:
    """Rows that come in families of near copies, so that there are near neighbours, exact ties and empty rows."""
    rng = np.random.default_rng(seed)
    parents = rng.random((families, bits)) < density
    children = parents[rng.integers(0, families, rows)] ^ (
        rng.random((rows, bits)) < density * rng.choice([0.0, 0.1, 1.0])
    )
    children[rng.random(rows) < 0.05] = False
    return np.packbits(children, axis=1, bitorder="little")


@pytest.fixture(
    params=[(131_072, 16_384, 0.1, 0), (40, 16, 2.0, 65_536), (40, 16, 2.0, 0), (40, 16, -1.0, 0), (1, 8, 0.1, 20)],
    ids=str,
)
def _sizes(request, monkeypatch):
    """The sizes in use, and small ones that make a few hundred rows pass through many blocks, folded and full."""
    block, sample, passed, dense = request.param
    monkeypatch.setattr(molindex.exact, "_BLOCK_ROWS", block)
    monkeypatch.setattr(molindex.exact, "_JOINT_BLOCK_ROWS", block)
    monkeypatch.setattr(molindex.exact, "_QUERIES_AT_ONCE", 7)
    monkeypatch.setattr(molindex.exact, "_SAMPLE_ROWS", sample)
    monkeypatch.setattr(molindex.exact, "_SAMPLE_SHARE", 1)
    monkeypatch.setattr(molindex.exact, "_LARGEST_PASSED", passed)
    monkeypatch.setattr(molindex.exact, "_LARGEST_DENSE", dense)


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("bits", [64, 192, 512, 2048])
@pytest.mark.parametrize("density", [0.01, 0.05, 0.4])
def test_search_equals_rdkit_over_random_fingerprints(bits, density, oracle, unpack):
    codes = random_codes(bits, 400, bits, density, families=12)
    vectors = unpack(codes)
    search = ExactSearch(SortedFingerprints.sort(codes))
    for number in range(0, 400, 40):
        for metric in METRICS:
            for k, floor, exclude in (
                (1, 0.0, []),
                (10, 0.0, [number]),
                (25, 0.35, list(range(0, 400, 3))),
                (1000, 0.0, []),
            ):
                rows, similarities = search.search(codes[number], k, metric, floor, np.array(exclude, np.int64))
                assert (rows.tolist(), similarities.tolist()) == oracle(
                    vectors[number], vectors, k, metric, floor, exclude
                )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 150),
    bits=st.sampled_from([64, 320, 1024]),
    density=st.sampled_from([0.005, 0.03, 0.2]),
    families=st.integers(1, 8),
    k=st.integers(1, 30),
    metric=st.sampled_from(METRICS),
    floor=st.sampled_from([0.0, 0.1, 0.5, 2 / 3, 1.0]),
)
def test_search_equals_rdkit_for_any_rows(seed, rows, bits, density, families, k, metric, floor, oracle, unpack):
    codes = random_codes(seed, rows, bits, density, families)
    query = random_codes(seed + 1, 1, bits, density, 1)[0]
    vectors = unpack(codes)
    for code in (query, codes[0]):
        found, similarities = ExactSearch(SortedFingerprints.sort(codes)).search(code, k, metric, floor)
        expected = oracle(unpack(code[None])[0], vectors, k, metric, floor)
        assert (found.tolist(), similarities.tolist()) == expected


@pytest.mark.usefixtures("_sizes")
@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [64, 512, 2048])
def test_a_batch_finds_what_single_queries_find(bits, metric):
    # Sparse, dense and empty queries together, so that some read folded rows and some full ones.
    parts = [random_codes(seed, 150, bits, density, families=6) for seed, density in enumerate((0.01, 0.05, 0.4))]
    codes = np.concatenate(parts)
    queries = np.concatenate([codes[::12], random_codes(9, 5, bits, 0.1, 5), np.zeros((1, bits // 8), np.uint8)])
    search = ExactSearch(SortedFingerprints.sort(codes))
    exclude = [None if number % 3 else np.arange(number, len(codes), 2) for number in range(len(queries))]
    for k, floor in ((1, 0.0), (10, 0.0), (25, 0.35), (1000, 0.0)):
        batch = search.search_batch(queries, k, metric, floor, exclude)
        assert len(batch) == len(queries)
        for query, barred, (rows, similarities) in zip(queries, exclude, batch, strict=True):
            one_rows, one_similarities = search.search(query, k, metric, floor, barred)
            assert (rows.tolist(), similarities.tolist()) == (one_rows.tolist(), one_similarities.tolist())


def test_a_batch_of_no_queries_finds_nothing():
    search = ExactSearch(SortedFingerprints.sort(random_codes(0, 20, 64, 0.1, 3)))
    assert search.search_batch(np.zeros((0, 8), np.uint8), 3) == []


def test_ties_at_the_border_go_to_the_lower_row():
    codes = np.zeros((300, 256), np.uint8)
    codes[:, 0] = 0b111
    codes[150:, 1] = 0b1  # 0..149 equal the query, the rest tie below it
    search = ExactSearch(SortedFingerprints.sort(codes[::-1].copy()))
    rows, similarities = search.search(codes[0], 200)
    assert rows.tolist() == [*range(150, 300), *range(50)]
    assert similarities.tolist() == [1.0] * 150 + [2 * 3 / 7] * 50


@pytest.mark.usefixtures("_sizes")
def test_rows_that_only_look_near_do_not_hide_a_tie():
    codes = np.zeros((210, 256), np.uint8)
    codes[:10, 11] = 0xFF  # far, folded or not
    codes[10:, 32] = 0xFF  # folded to 32 bytes these equal the query, though they share no bit with it
    query = np.zeros(256, np.uint8)
    query[0] = 0xFF
    rows, similarities = ExactSearch(SortedFingerprints.sort(codes)).search(query, 1)
    assert (rows.tolist(), similarities.tolist()) == ([0], [0.0])


def test_an_empty_query_ties_with_everything_at_zero():
    codes = random_codes(1, 50, 64, 0.1, 3)
    rows, similarities = ExactSearch(SortedFingerprints.sort(codes)).search(np.zeros(8, np.uint8), 5)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert similarities.tolist() == [0.0] * 5


def test_no_rows_give_no_neighbours():
    rows, similarities = ExactSearch(SortedFingerprints.sort(np.zeros((0, 256), np.uint8))).search(
        np.zeros(256, np.uint8), 3
    )
    assert len(rows) == len(similarities) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "dice", 0.0), "k must be at least 1, got 0"),
        ((1, "cosine", 0.0), "unknown metric 'cosine'; known are dice, tanimoto"),
        ((1, "dice", 1.5), "the similarity floor must be between 0 and 1, got 1.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    search = ExactSearch(SortedFingerprints.sort(np.zeros((1, 8), np.uint8)))
    with pytest.raises(InputError, match=message):
        search.search(np.zeros(8, np.uint8), *arguments)


@given(seed=st.integers(0, 1000), density=st.floats(0.01, 0.6))
def test_folding_bounds_the_shared_bits(seed, density):
    codes = random_codes(seed, 20, 2048, density, 4)
    folded = fold(codes, 32)
    lost = count_bits(codes) - count_bits(folded)
    shared = count_bits(codes[:1] & codes)
    assert (lost >= 0).all()
    assert (shared <= count_bits(folded[:1] & folded) + np.minimum(lost[0], lost)).all()
