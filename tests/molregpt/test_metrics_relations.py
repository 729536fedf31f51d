"""Relations read out of captions, and their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molregpt.data.shipped import sample_pairs
from molregpt.metrics.captions import score_captions
from molregpt.metrics.relations import (
    RELATION_KINDS,
    Relation,
    RelationCount,
    RelationKind,
    parse_relations,
    parse_sentence,
    score_relations,
    split_sentences,
)
from molregpt.metrics.statistics import Resampling

SENTENCES: list[tuple[str, RelationKind, list[str]]] = [
    (
        "It is a member of phenols, a benzenediol and an EC 1.1.1.146 (11beta-hydroxysteroid dehydrogenase) inhibitor.",
        "is a",
        ["phenol", "benzenediol", "EC 1.1.1.146 (11beta-hydroxysteroid dehydrogenase) inhibitor"],
    ),
    (
        "It has a role as a human metabolite, a mouse metabolite and an apoptosis inducer.",
        "has role",
        ["human metabolite", "mouse metabolite", "apoptosis inducer"],
    ),
    (
        "It has a role as an EC 1.3.5.1 [succinate dehydrogenase (quinone)] inhibitor and an antifungal agrochemical.",
        "has role",
        ["EC 1.3.5.1 [succinate dehydrogenase (quinone)] inhibitor", "antifungal agrochemical"],
    ),
    ("It is a trihydroxyflavone and a 3'-methoxyflavone.", "is a", ["trihydroxyflavone", "3'-methoxyflavone"]),
    ("It derives from a L-threonine and a L-tryptophan.", "derives from", ["L-threonine", "L-tryptophan"]),
    ("It is functionally related to a kanamycin B.", "derives from", ["kanamycin B"]),
    ("It derives from a hydride of a labdane.", "derives from a hydride of", ["labdane"]),
    ("It is a conjugate acid of a crocetin(2-).", "conjugate acid of", ["crocetin(2-)"]),
    ("It is a conjugate base of a fosfomycin; major species at pH 7.3.", "conjugate base of", ["fosfomycin"]),
    (
        "It is an enantiomer of a (S)-3-amino-3-phenylpropanoic acid.",
        "enantiomer of",
        ["(S)-3-amino-3-phenylpropanoic acid"],
    ),
    ("It is a tautomer of a D-ornithine zwitterion.", "tautomer of", ["D-ornithine zwitterion"]),
    ("It contains a butenafine and a magnesium(2+).", "has part", ["butenafine", "magnesium(2+)"]),
    (
        "It is a tetrasaccharide and an alpha-L-Fucp-(1->2)-beta-D-Galp-(1->4)-[alpha-L-Fucp-(1->3)]-D-Glcp.",
        "is a",
        ["tetrasaccharide", "alpha-L-Fucp-(1->2)-beta-D-Galp-(1->4)-[alpha-L-Fucp-(1->3)]-D-Glcp"],
    ),
    (
        "It is a conjugate acid of a 5,6-dihydroxy-2,3-dihydro-1H-indole and a salt (of a base and an acid) (E. coli).",
        "conjugate acid of",
        ["5,6-dihydroxy-2,3-dihydro-1H-indole", "salt (of a base and an acid) (E. coli)"],
    ),
    ("The molecule is a member of the class of azobenzenes that is azobenzene.", "is a", ["azobenzene"]),
    ("The molecule is an acetate ester obtained by the formal condensation of a phenol.", "is a", ["acetate ester"]),
    ("The molecule is a hydrate, which is the hemihydrate form of a drug.", "is a", ["hydrate"]),
    ("The molecule is a limonoid, a member of furans and an epoxide.", "is a", ["limonoid", "furan", "epoxide"]),
    ("The molecule is a dipeptide.", "is a", ["dipeptide"]),
]


@pytest.mark.parametrize(("sentence", "kind", "targets"), SENTENCES, ids=[text[:40] for text, _, _ in SENTENCES])
def test_sentences_of_chebi_are_read(sentence: str, kind: RelationKind, targets: list[str]) -> None:
    assert parse_sentence(sentence) == tuple(Relation(kind, target) for target in targets)


@pytest.mark.parametrize(
    "sentence",
    [
        "It is isolated from the whole plants of Ardisia japonica.",
        "It is a metabolite of the nematode Caenorhabditis elegans.",
        "It is a potent carcinogen and is present in tobacco smoke.",
        "It is a natural product, isolated from Gliocladium sp.",
        "It is the major species at pH 7.3.",
        "It contains four chlorine atoms.",
        "It derives from the roots of Tripterygium wilfordii.",
        "The molecule is the hydrochloride salt of betaxolol.",
        "The molecule is a branched, long-chain saturated fatty acid composed of pentadecanoic acid.",
        "The molecule is a dihydroxy- and monomethoxy-flavone in which the hydroxy groups are positioned at C-5.",
        "Major species at pH 7.3.",
        "",
    ],
)
def test_what_is_not_surely_a_relation_is_left_out(sentence: str) -> None:
    assert parse_sentence(sentence) == ()


def test_sentences_end_before_capitals_only_and_where_the_full_stop_was_forgotten() -> None:
    caption = "The molecule is a lipid A (E. coli) of E. coli. Isolated once It has a role as a toxin.  It is a lipid."
    assert split_sentences(caption) == [
        "The molecule is a lipid A (E. coli) of E. coli.",
        "Isolated once",
        "It has a role as a toxin.",
        "It is a lipid.",
    ]


def test_a_relation_said_twice_counts_once() -> None:
    caption = "The molecule is a member of the class of phenols that is phenol. It is a member of phenols and a phenol."
    assert parse_relations(caption) == {Relation("is a", "phenol")}


BEGINNINGS = {
    "is a": "It is",
    "has role": "It has a role as",
    "has part": "It contains",
    "derives from": "It derives from",
    "derives from a hydride of": "It derives from a hydride of",
    "conjugate acid of": "It is a conjugate acid of",
    "conjugate base of": "It is a conjugate base of",
    "enantiomer of": "It is an enantiomer of",
    "tautomer of": "It is a tautomer of",
}
NAMES = st.from_regex(
    r"(?:\(2R,3S\)-|N-|alpha-)?[0-9],[0-9]-[bdg][bdlnr]{2,5}(?:\((?:1->4|2-|E\. coli)\))?(?: [bdg][lnr]{2})?",
    fullmatch=True,
)


@given(st.sampled_from(RELATION_KINDS), st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_whatever_is_written_in_chebis_way_is_read_back(kind: RelationKind, targets: list[str]) -> None:
    items = [f"a {target}" for target in targets]
    listed = " and ".join([", ".join(items[:-1])] * (len(items) > 1) + items[-1:])
    caption = f"The molecule is something else. {BEGINNINGS[kind]} {listed}. Isolated from a plant."
    assert parse_relations(caption) == {Relation(kind, target) for target in targets}


@given(st.text(alphabet="It isaonf()[]{},;. member", max_size=80))
def test_no_text_stops_the_reader(text: str) -> None:
    assert all(relation.target for relation in parse_relations(f"It is a {text}"))


def test_scores_are_sums_over_all_relations_and_of_each_kind() -> None:
    references = [
        "The molecule is a diol. It has a role as a toxin and a dye.",
        "The molecule is an acid. It derives from a butane.",
        "Nothing is known.",
    ]
    predictions = [
        "The molecule is a diol. It has a role as a dye, a drug and a human metabolite.",
        "",
        "It is a lipid.",
    ]
    scores = score_relations(predictions, references, resampling=Resampling(samples=200, seed=1))
    assert scores.rows == (RelationCount(2, 4, 3), RelationCount(0, 0, 2), RelationCount(0, 1, 0))
    assert scores.all.total == RelationCount(2, 5, 5)
    assert (scores.all.precision.value, scores.all.recall.value, scores.all.f1.value) == (0.4, 0.4, 0.4)
    assert scores.all.f1.low < 0.4 < scores.all.f1.high
    assert {score.n for score in (scores.all.precision, scores.all.recall, scores.all.f1)} == {3}
    totals = {kind: (score.total, score.f1.n) for kind, score in scores.kinds.items()}
    assert totals == {
        "is a": (RelationCount(1, 2, 2), 3),
        "has role": (RelationCount(1, 3, 2), 1),
        "derives from": (RelationCount(0, 0, 1), 1),
    }
    assert scores.kinds["has role"].precision.value == pytest.approx(1 / 3)
    assert [row.precision for row in scores.rows] == [0.5, None, 0.0]
    assert [row.recall for row in scores.rows] == [pytest.approx(2 / 3), 0.0, None]
    assert [row.f1 for row in scores.rows] == [pytest.approx(4 / 7), 0.0, 0.0]


def test_intervals_are_those_of_resampled_rows() -> None:
    captions = [pair.caption for pair in sample_pairs()[:30]]
    predictions = [*captions[:20], *captions[:10]]
    found = score_relations(predictions, captions, resampling=Resampling(samples=50, seed=3)).all.f1
    generator, once = np.random.default_rng(3), Resampling(samples=1)
    scores = []
    for _ in range(50):
        drawn = generator.integers(0, 30, 30)
        sides = [predictions[row] for row in drawn], [captions[row] for row in drawn]
        scores.append(score_relations(*sides, resampling=once).all.f1.value)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))


def test_kinds_of_relations_are_in_the_summary() -> None:
    caption = "The molecule is a diol. It has a role as a toxin."
    summary = json.loads(json.dumps(score_captions([caption], [caption]).as_json()))
    assert set(summary["relations"]) == {"is a", "has role"}
    assert summary["relations"]["has role"] == {
        **{name: {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1} for name in ("precision", "recall", "f1")},
        **dict.fromkeys(("right", "predicted", "expected"), 1),
    }
    assert summary["relation_f1"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}
