"""How good units are, without any text: does a sentence keep its units when somebody else says it?

Good units say what is said and not who says it. For that, some sentences must be spoken by several speakers. All
figures are of units without repeats, as language models see them, unless said otherwise.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from speechunits.errors import InputError
from speechunits.extracted import Extracted
from speechunits.listing import Spoken
from speechunits.runs import Units, deduplicate

_SHUFFLES = 50
_MOST_PAIRS = 10_000


@dataclass(frozen=True)
class UnitReport:
    """The figures.

    Attributes:
        utterances: how many there are.
        same_sentence: mean edit distance of one sentence by two speakers, 0 to 1: lower is better. NaN if no sentence
            has two speakers.
        same_sentence_pairs: how many pairs that is the mean of.
        same_speaker: mean edit distance of two sentences by one speaker, 0 to 1: to be far above `same_sentence`. NaN
            if no speaker has two sentences.
        same_speaker_pairs: how many pairs that is the mean of.
        units_per_second: the shorter, the easier to model.
        perplexity: of the units of all frames: as many equally frequent units would be as hard to guess.
        clusters: how many units there are.
        used: how many of them occur.
        speaker_bits: mutual information of a frame's unit and its speaker, in bits, less `chance_bits`: 0 where units
            say nothing about the speaker.
        chance_bits: what is measured when speakers are dealt to utterances by chance: the bias of few data.
        most_bits: entropy of the speaker, the most there could be.
    """

    utterances: int
    same_sentence: float
    same_sentence_pairs: int
    same_speaker: float
    same_speaker_pairs: int
    units_per_second: float
    perplexity: float
    clusters: int
    used: int
    speaker_bits: float
    chance_bits: float
    most_bits: float


def report_units(
    utterances: Iterable[Extracted], spoken: Mapping[str, Spoken], clusters: int, *, seed: int = 0
) -> UnitReport:
    """Measure units.

    Args:
        utterances: with units.
        spoken: sentence and speaker of each, by the name of its recording.
        clusters: how many units there are.
        seed: of the choice of pairs where there are more than 10,000, and of the shuffles.

    Raises:
        InputError: there are no utterances, one has no units, or sentence and speaker of one are not known.
    """
    units: list[Units] = []
    sentences: list[str] = []
    speakers: list[str] = []
    seconds = 0.0
    for utterance in utterances:
        if utterance.units is None:
            raise InputError(f"{utterance.audio}: has no units to report on")
        if utterance.audio not in spoken:
            raise InputError(f"{utterance.audio}: is not in the list of sentences and speakers")
        units.append(utterance.units)
        sentences.append(spoken[utterance.audio].sentence)
        speakers.append(spoken[utterance.audio].speaker)
        seconds += utterance.duration_s
    if not units:
        raise InputError("there are no units to report on")
    generator = np.random.default_rng(seed)
    runs = [deduplicate(row).units for row in units]
    within = choose_pairs(sentences, speakers, generator)
    between = choose_pairs(speakers, sentences, generator)
    counts = np.stack([np.bincount(row, minlength=clusters) for row in units])  # [utterances, clusters]
    frequencies = counts.sum(axis=0)
    measured, chance = speaker_information(counts, speakers, generator)
    return UnitReport(
        utterances=len(units),
        same_sentence=mean_distance(runs, within),
        same_sentence_pairs=len(within),
        same_speaker=mean_distance(runs, between),
        same_speaker_pairs=len(between),
        units_per_second=sum(map(len, runs)) / seconds,
        perplexity=2 ** entropy_bits(frequencies),
        clusters=clusters,
        used=int(np.count_nonzero(frequencies)),
        speaker_bits=measured - chance,
        chance_bits=chance,
        most_bits=entropy_bits(np.bincount(np.unique(speakers, return_inverse=True)[1], weights=counts.sum(axis=1))),
    )


def edit_distance(one: Units, other: Units) -> float:
    """Return the Levenshtein distance of two unit sequences over the length of the longer; 0 for two empty ones."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_distance(one.tolist(), other.tolist()))


def mean_distance(runs: Sequence[Units], pairs: Sequence[tuple[int, int]]) -> float:
    """Return the mean edit distance of pairs of positions; NaN without pairs."""
    return float(np.mean([edit_distance(runs[one], runs[other]) for one, other in pairs])) if pairs else math.nan


def entropy_bits(counts: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> float:
    """Return the entropy of a distribution given as counts, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum() + 0.0)


def mutual_information_bits(joint: npt.NDArray[np.int64]) -> float:
    """Return the mutual information of rows and columns of a table of counts, in bits, as it stands (biased upward)."""
    return entropy_bits(joint.sum(axis=0)) + entropy_bits(joint.sum(axis=1)) - entropy_bits(joint.reshape(-1))


def speaker_information(
    counts: npt.NDArray[np.int64], speakers: Sequence[str], generator: np.random.Generator
) -> tuple[float, float]:
    """Return the mutual information of unit and speaker over frames, and its mean for speakers dealt by chance.

    Chance deals speakers to whole utterances, for the frames of one utterance are not independent: with shuffled frames
    the bias would seem far smaller than it is.

    Args:
        counts: how often each unit occurs in each utterance, `[N, units]`.
        speakers: of each utterance.
        generator: for the shuffles.
    """
    numbers = np.unique(speakers, return_inverse=True)[1]

    def measure(of_utterance: npt.NDArray[np.int64]) -> float:
        joint = np.zeros((numbers.max() + 1, counts.shape[1]), dtype=np.int64)
        np.add.at(joint, of_utterance, counts)
        return mutual_information_bits(joint)

    chance = [measure(generator.permutation(numbers)) for _ in range(_SHUFFLES)]
    return measure(numbers), float(np.mean(chance))


def choose_pairs(groups: Sequence[str], kinds: Sequence[str], generator: np.random.Generator) -> list[tuple[int, int]]:
    """Return pairs of positions with the same group and different kinds: all, or 10,000 of them if there are more."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    # One speaker with 13,000 sentences has 85 million pairs: too many to list before some are chosen.
    if sum(len(positions) ** 2 for positions in members.values()) > 20 * _MOST_PAIRS:
        most = max(3, math.isqrt(8 * _MOST_PAIRS // len(members)))
        members = defaultdict(
            list, {group: generator.permutation(positions)[:most].tolist() for group, positions in members.items()}
        )
    pairs = [
        (one, other)
        for positions in members.values()
        for one, other in combinations(positions, 2)
        if kinds[one] != kinds[other]
    ]
    if len(pairs) <= _MOST_PAIRS:
        return pairs
    return [pairs[position] for position in generator.choice(len(pairs), _MOST_PAIRS, replace=False)]
