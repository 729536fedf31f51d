"""Codec level 0: code after code, of known length, in the voice of a prompt (arXiv 2306.02982, U-SLM; VALL-E's AR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyvoice.stages.aligned import AlignedLayout, Stretch, aligned_alphabets
from polyvoice.stages.stage_folder import FILE, VOCABULARY, StageCard, read_stage
from polyvoice.stages.synthesize.data import Speech, VoiceExample
from polyvoice.stages.synthesize.settings import FirstLevelLayout, VoiceSettings
from polyvoice.tasks import UNITS, Direction, languages_of, synthesize_first_level
from speechunits.extracted import CodesInfo
from speechunits.runs import Units
from unitlm.aligned import generate_aligned
from unitlm.alphabet import Units as UnitAlphabet
from unitlm.checkpoint import load_model
from unitlm.files import Json
from unitlm.generate import generate
from unitlm.language_model import Precision, pack_decoder
from unitlm.model import Decoder
from unitlm.sampling import GREEDY, Choices, Sampling
from unitlm.settings import parse_settings
from unitlm.shards import Example
from unitlm.vocabulary import Vocabulary

LEVEL = "codec.0"
"""The alphabet of the first level's codes."""


@dataclass(frozen=True, eq=False)
class VoiceQuery:
    """What is to be said, and by whom.

    Attributes:
        prompt: speech of the voice.
        units: one a codec frame `[T]`.
        language: of these units, such as `en`.
    """

    prompt: Speech
    units: Units
    language: str


@dataclass(frozen=True)
class FirstLevelWriter:
    """Writes voice examples in the ids of a model.

    Attributes:
        vocabulary: gives the ids.
        languages: in the order of their condition ids.
        settings: the layout.
        prompt_units: whether the prompt's units are seen.
    """

    vocabulary: Vocabulary
    languages: tuple[str, ...]
    settings: FirstLevelLayout
    prompt_units: bool

    @property
    def aligned(self) -> AlignedLayout:
        """The aligned layout."""
        return AlignedLayout(self.vocabulary, LEVEL, self.languages, self.settings.lookahead)

    @property
    def codebooks(self) -> int:
        """Ids that a step carries."""
        return self.aligned.codebooks if self.settings.layout == "aligned" else 1

    def frames(self, steps: int) -> int:
        """How many frames of prompt and target fit into a row of so many steps."""
        if self.settings.layout == "aligned":
            return steps
        task = synthesize_first_level("xx", "xx")
        around = 1 + len(task.words) + 2 * len(task.slots)  # <begin>, words, and two marks around each slot
        return (steps + 1 - around) // 2

    def example(self, example: VoiceExample, *, learn_prompt: bool | None = None) -> Example:
        """A training example; what is learned of the prompt can be overruled."""
        prompt, target = example.prompt, example.target
        if self.settings.layout == "aligned":
            learned = self.settings.learn_prompt if learn_prompt is None else learn_prompt
            learned = learned and self.prompt_units and example.clean_prompt
            stretches = [
                Stretch(prompt.units, prompt.codes[0], prompt.language, shown=self.prompt_units, learned=learned),
                Stretch(target.units, target.codes[0], target.language, learned=True),
            ]
            return self.aligned.example(example.key, stretches)
        task = synthesize_first_level(prompt.language, target.language)
        values = {**self._values(prompt, target.units), "tgt_codes": target.codes[0].tolist()}
        return Example.of(example.key, task.compile(values, self.vocabulary))

    def _values(self, prompt: Speech, target_units: Units) -> dict[str, list[int]]:
        return {
            "src": prompt.units.tolist() if self.prompt_units else [],
            "tgt": target_units.tolist(),
            "src_codes": prompt.codes[0].tolist(),
        }

    def read(self, query: VoiceQuery) -> tuple[Stretch, Stretch]:
        """A query as the stretches of an aligned line."""
        prompt = query.prompt
        return (
            Stretch(prompt.units, prompt.codes[0], prompt.language, shown=self.prompt_units),
            Stretch(query.units, None, query.language),
        )

    def prompt(self, query: VoiceQuery) -> tuple[int, ...]:
        """A query in the paper's layout."""
        task = synthesize_first_level(query.prompt.language, query.language)
        return task.prompt(self._values(query.prompt, query.units), self.vocabulary).ids


class FirstLevelModel:
    """Writes level 0.

    Attributes:
        card: what the stage is.
        writer: makes examples and queries in its ids.
        voice: how its training examples were made.
    """

    def __init__(
        self,
        model: Decoder,
        writer: FirstLevelWriter,
        card: StageCard,
        voice: VoiceSettings,
        precision: Precision = "int8",
    ) -> None:
        self._model, self._packed = model, pack_decoder(model, precision)
        self.writer, self.card, self.voice = writer, card, voice
        self._start, self._stop = writer.vocabulary.span(LEVEL)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: Precision = "int8") -> FirstLevelModel:
        """Read a finished stage; on a CPU it writes with weights packed in a precision.

        Raises:
            InputError: the folder holds no finished model of the first level.
            unitlm.errors.InputError: a file of it is damaged.
        """
        card = read_stage(folder, "first_level")
        layout = parse_settings(
            FirstLevelLayout, cast("dict[str, Json]", card.settings["layout"]), f"{folder / FILE}: layout"
        )
        voice = parse_settings(
            VoiceSettings, cast("dict[str, Json]", card.settings["voice"]), f"{folder / FILE}: voice"
        )
        writer = FirstLevelWriter(
            Vocabulary.load(folder / VOCABULARY), languages_of(card.directions), layout, voice.prompt_units
        )
        return cls(load_model(folder, device=device).float(), writer, card, voice, precision)

    def write(
        self, queries: Sequence[VoiceQuery], *, sampling: Sampling = GREEDY, best_of: int = 1, seed: int = 0
    ) -> list[Units]:
        """Write one code a unit.

        Args:
            queries: voices and units.
            sampling: how codes are chosen.
            best_of: draws of which the one with the largest mean log-probability is taken.
            seed: of the draws.

        Returns:
            For each query its codes `[T]` int64.
        """
        choices = Choices(self._start, self._stop, end=None)
        generator = torch.Generator(self._model.embedding.weight.device).manual_seed(seed)
        if self.writer.settings.layout == "aligned":
            lines = [self.writer.aligned.line(self.writer.read(query)) for query in queries]
            written = generate_aligned(
                self._packed, lines, choices, samples=best_of, sampling=sampling, generator=generator
            )
        else:
            written = generate(
                self._packed,
                [self.writer.prompt(query) for query in queries],
                choices,
                lengths=[query.units.size for query in queries],
                samples=best_of,
                sampling=sampling,
                generator=generator,
            )
        return [np.array(row.ids, np.int64) - self._start for row in written]

    @torch.inference_mode()
    def weigh(self, query: VoiceQuery, codes: Units) -> NDArray[np.float32]:
        """How probable each code is in every frame, after the codes that stand before it.

        Args:
            query: voice and units.
            codes: one a unit `[T]`, such as were written for it.

        Returns:
            Probabilities float32 `[T, C]`.
        """
        said = VoiceExample("", query.prompt, Speech(query.language, query.units, codes[None]))
        logits, _ = _score(self.writer.vocabulary, self._model, self.writer.example(said, learn_prompt=False))
        return np.asarray(logits.float().softmax(dim=-1).cpu().numpy())


@torch.inference_mode()
def count_first_level_hits(vocabulary: Vocabulary, model: Decoder, example: Example) -> dict[int, tuple[int, int]]:
    """For level 0, how many learned codes the model would have chosen after the true ones, and of how many."""
    logits, targets = _score(vocabulary, model, example)
    right = logits.argmax(dim=-1) == targets
    return {0: (int(right.sum()), len(right))}


def _score(vocabulary: Vocabulary, model: Decoder, example: Example) -> tuple[Tensor, Tensor]:
    """Logits `[N, C]` after the true codes, for each code that is learned, and which one it is `[N]`."""
    start, stop = vocabulary.span(LEVEL)
    device = model.embedding.weight.device
    ids = torch.from_numpy(example.ids.astype(np.int64)).to(device)
    targets = ids[1:] if ids.dim() == 1 else ids[1:, -1]
    learned = torch.from_numpy(example.loss_mask[1:].copy()).to(device)
    learned &= (targets >= start) & (targets < stop)  # in the paper's layout the end is learned too
    conditions = None
    if example.conditions is not None:
        conditions = torch.from_numpy(example.conditions[:-1].astype(np.int64)).to(device).unsqueeze(0)
    among = torch.arange(start, stop, device=device).unsqueeze(0)
    logits = model(ids[:-1].unsqueeze(0), conditions=conditions, at=learned.unsqueeze(0), among=among)
    return logits, targets[learned] - start


def build_first_level_vocabulary(
    directions: Sequence[Direction], clusters: int, codes: CodesInfo, settings: FirstLevelLayout
) -> Vocabulary:
    """Units, and the codes of level 0."""
    level = UnitAlphabet(LEVEL, codes.codebook_size)
    if settings.layout == "aligned":
        return Vocabulary([*aligned_alphabets(clusters, settings.lookahead), level])
    tasks = [synthesize_first_level(way.source, way.target) for way in directions]
    return Vocabulary.build([UnitAlphabet(UNITS, clusters), level], tasks)
