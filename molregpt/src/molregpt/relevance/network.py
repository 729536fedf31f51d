"""From the figures of a neighbour to the overlap of its answer with the right one: a small network, in NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from molregpt.assets import asset
from molregpt.errors import InputError
from molregpt.records import DIRECTIONS, Direction, Example
from molregpt.relevance.figures import describe_neighbours
from unitlm.files import write_bytes

Floats = NDArray[np.float32]

ASSET = "relevance.safetensors"
"""Where what ships with the package lies among its assets."""

DEPTH = 20
"""Neighbours that are sorted."""

FORMAT = 1
"""Version of the figures and of the file; raised whenever one of them changes."""

_VERSION = "version"


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Two hidden layers.

    Attributes:
        mean: Of each figure over the training data, `[F]`.
        scale: Their standard deviations, `[F]`.
        weights: Of the three layers, `[H, F]`, `[H, H]`, `[1, H]`.
        biases: Of the three layers.
    """

    mean: Floats
    scale: Floats
    weights: tuple[Floats, Floats, Floats]
    biases: tuple[Floats, Floats, Floats]

    def estimate(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """The overlap to be expected, 0 to 1, `[N]` for figures `[N, F]`."""
        x = (figures - self.mean) / self.scale
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight.T + bias
            if layer < 2:
                x = x * _sigmoid(x)  # SiLU
        return _sigmoid(x[:, 0])


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))), dtype=np.float64)


class Relevance:
    """Sorts neighbours by how much of the right answer theirs is likely to hold."""

    def __init__(self, networks: Mapping[Direction, Network]) -> None:
        """Take what `learn_relevance` learned or `parse_relevance` read."""
        self.networks = dict(networks)

    def sort(
        self, direction: Direction, query: str, examples: Sequence[Example], name: Callable[[str], str]
    ) -> list[Example]:
        """The examples by expected overlap, which takes the place of their similarity; unreadable ones are left out.

        Args:
            direction: What the query is.
            query: A SMILES that can be read, or a caption.
            examples: What the direction's standard strategy found, the most similar first.
            name: Gives the systematic name of a molecule, or nothing.
        """
        described = describe_neighbours(direction, query, examples, name)
        if not described.examples:
            return []
        expected = self.networks[direction].estimate(described.figures)
        order = np.argsort(-expected, kind="stable").tolist()
        return [Example(described.examples[row].pair, float(expected[row]), float(expected[row])) for row in order]

    def save(self, path: Path) -> None:
        """Write both networks.

        Raises:
            InputError: The file cannot be written.
        """
        write_bytes(path, self._to_bytes())

    @cached_property
    def digest(self) -> str:
        """Names what was learned: 8 hex digits of SHA-256."""
        return hashlib.sha256(self._to_bytes()).hexdigest()[:8]

    def _to_bytes(self) -> bytes:
        tensors = {_VERSION: np.array([FORMAT], np.float32)}
        for direction, network in self.networks.items():
            tensors[f"{direction}/mean"], tensors[f"{direction}/scale"] = network.mean, network.scale
            for layer in range(3):
                tensors[f"{direction}/weight{layer}"] = network.weights[layer]
                tensors[f"{direction}/bias{layer}"] = network.biases[layer]
        return bytes(save(tensors))


def parse_relevance(data: bytes, where: str) -> Relevance:
    """Read what `Relevance.save` wrote.

    Raises:
        InputError: It is something else, or damaged.
    """
    try:
        tensors = load(data)
        if (found := int(tensors[_VERSION][0])) != FORMAT:
            raise InputError(f"{where}: version {found} of the figures; this program knows {FORMAT}: learn it again")
        networks = {direction: _take(tensors, direction) for direction in DIRECTIONS}
        for network in networks.values():
            network.estimate(np.zeros((1, len(network.mean))))
    except (SafetensorError, LookupError, ValueError) as error:
        raise InputError(f"{where}: not a file of `molregpt relevance` ({error})") from None
    return Relevance(networks)


def _take(tensors: Mapping[str, Floats], direction: Direction) -> Network:
    weights = tuple(tensors[f"{direction}/weight{layer}"] for layer in range(3))
    biases = tuple(tensors[f"{direction}/bias{layer}"] for layer in range(3))
    return Network(
        tensors[f"{direction}/mean"],
        tensors[f"{direction}/scale"],
        (weights[0], weights[1], weights[2]),
        (biases[0], biases[1], biases[2]),
    )


@cache
def shipped_relevance() -> Relevance:
    """What ships with the package, learned on its own pool."""
    return parse_relevance(asset(ASSET).read_bytes(), "the shipped relevance")
