"""Codec levels 1 and up: all frames of a level at once, level by level (VALL-E, arXiv 2301.02111, section 4.2.2).

A step carries its unit and its codes. Of the prompt's frames all levels are seen, of the target's frames those below
the level that is asked for; which one that is, the model learns from its adaptive norms. Nothing is causal here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyvoice.errors import InputError
from polyvoice.stages.aligned import language_id, to_ids
from polyvoice.stages.stage_folder import FILE, VOCABULARY, StageCard, read_stage
from polyvoice.stages.synthesize.data import Speech, VoiceExample
from polyvoice.stages.synthesize.settings import VoiceSettings
from polyvoice.tasks import UNITS, languages_of
from speechunits.codecs.protocol import SoftCodes
from speechunits.extracted import CodesInfo
from unitlm.alphabet import Units as UnitAlphabet
from unitlm.checkpoint import load_model
from unitlm.data import Batch
from unitlm.files import Json
from unitlm.model import ABSENT, Decoder
from unitlm.objective import cross_entropy
from unitlm.settings import parse_settings
from unitlm.shards import Example
from unitlm.vocabulary import Vocabulary


@dataclass(frozen=True)
class CodeSpans:
    """Where the codes of all levels lie among the ids.

    Attributes:
        start: id of the first code of level 0; the levels follow each other.
        levels: K.
        size: codes of a level.
    """

    start: int
    levels: int
    size: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> CodeSpans:
        """Read off a vocabulary that `build_other_levels_vocabulary` made."""
        start, stop = vocabulary.span("codec.0")
        levels = sum(name.startswith("codec.") for name in vocabulary.alphabets)
        return cls(start, levels, stop - start)

    def first(self, level: Tensor) -> Tensor:
        """The first id of levels, of any shape."""
        return self.start + level * self.size

    def ids(self, level: Tensor) -> Tensor:
        """All ids of each level: `[B]` to `[B, size]`."""
        return self.first(level).unsqueeze(1) + torch.arange(self.size, device=level.device)

    def hide(self, steps: Tensor, asked: Tensor, level: Tensor) -> Tensor:
        """Take away what the model has to find out.

        Args:
            steps: a unit and K codes each, `[B, S, 1 + K]`.
            asked: frames of the target, bool `[B, S]`.
            level: of each row, `[B]`.

        Returns:
            The steps with `ABSENT` in place of the targets' codes of that level and above.
        """
        # Column 0 is the unit, so column `level` is the last of the levels below.
        below = torch.arange(steps.shape[2], device=steps.device) <= level[:, None, None]
        return steps.where(below | ~asked.unsqueeze(-1), ABSENT)


@dataclass(frozen=True)
class LevelObjective:
    """Cross-entropy of one level a row, drawn anew for each micro-batch. For batches that are not shifted.

    Attributes:
        spans: where codes lie.
        noise: part of the lower levels' codes that is replaced by any others.
    """

    spans: CodeSpans
    noise: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sum of losses (nats) over the target's frames, and their number; see `unitlm.objective.Objective`."""
        spans, device, asked = self.spans, batch.ids.device, batch.weights > 0
        # Drawn on the CPU, so that all devices draw the same.
        level = torch.randint(1, spans.levels, (len(batch.ids),), generator=generator).to(device)
        steps = batch.ids
        if self.noise:
            steps = self._disturb(steps, asked, generator)
        among = spans.ids(level)
        logits = model(
            spans.hide(steps, asked, level),
            positions=batch.positions,
            segments=batch.segments,
            conditions=batch.conditions,
            stage=level - 1,
            at=asked,
            among=among,
        )  # [N, size]
        column = (1 + level)[:, None, None].expand(-1, batch.ids.shape[1], 1)
        targets = batch.targets.gather(2, column).squeeze(2) - spans.first(level).unsqueeze(1)  # [B, S]
        losses = cross_entropy(logits, targets[asked])
        return (losses * batch.weights[asked]).sum(), batch.weights.sum()

    def _disturb(self, steps: Tensor, asked: Tensor, generator: torch.Generator) -> Tensor:
        """Replace some codes of the target by others of their level, also where they will be hidden."""
        shape = (*steps.shape[:2], self.spans.levels)
        hit = torch.rand(shape, generator=generator).to(steps.device) < self.noise
        drawn = torch.randint(self.spans.size, shape, generator=generator).to(steps.device)
        drawn = drawn + self.spans.first(torch.arange(self.spans.levels, device=steps.device))
        codes = torch.where(hit & asked.unsqueeze(-1), drawn, steps[..., 1:])
        return torch.cat((steps[..., :1], codes), dim=-1)


@dataclass(frozen=True)
class OtherLevelsWriter:
    """Writes voice examples in the ids of a model.

    Attributes:
        vocabulary: gives the ids.
        languages: in the order of their condition ids.
        prompt_units: whether the prompt's units are seen.
    """

    vocabulary: Vocabulary
    languages: tuple[str, ...]
    prompt_units: bool

    def example(self, example: VoiceExample) -> Example:
        """A training example, all levels of both sides in it: what is hidden is drawn in training."""
        parts = (example.prompt, example.target)
        ids = np.concatenate(
            [self._steps(example.prompt, shown=self.prompt_units), self._steps(example.target, shown=True)]
        )
        conditions = np.repeat(
            [language_id(self.languages, part.language) for part in parts], [part.frames for part in parts]
        )
        asked = np.arange(len(ids)) >= example.prompt.frames
        return Example(example.key, ids.astype(np.int32), asked, conditions.astype(np.int32))

    def _steps(self, speech: Speech, *, shown: bool) -> NDArray[np.int64]:
        """Ids `[T, 1 + K]`; of codes of fewer levels the others are absent."""
        levels = CodeSpans.of(self.vocabulary).levels
        steps = np.full((speech.frames, 1 + levels), ABSENT, np.int64)
        if shown:
            steps[:, 0] = to_ids(self.vocabulary, UNITS, speech.units)
        for level, codes in enumerate(speech.codes):
            steps[:, 1 + level] = to_ids(self.vocabulary, f"codec.{level}", codes)
        return steps


class OtherLevelsModel:
    """Fills in levels 1 and up.

    Attributes:
        card: what the stage is.
        writer: makes examples and queries in its ids.
        voice: how its training examples were made.
    """

    def __init__(self, model: Decoder, writer: OtherLevelsWriter, card: StageCard, voice: VoiceSettings) -> None:
        self._model, self.writer, self.card, self.voice = model, writer, card, voice
        self._spans = CodeSpans.of(writer.vocabulary)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> OtherLevelsModel:
        """Read a finished stage.

        Raises:
            InputError: the folder holds no finished model of the other levels.
            unitlm.errors.InputError: a file of it is damaged.
        """
        card = read_stage(folder, "other_levels")
        voice = parse_settings(
            VoiceSettings, cast("dict[str, Json]", card.settings["voice"]), f"{folder / FILE}: voice"
        )
        writer = OtherLevelsWriter(
            Vocabulary.load(folder / VOCABULARY), languages_of(card.directions), voice.prompt_units
        )
        return cls(load_model(folder, device=device).float(), writer, card, voice)

    @torch.inference_mode()
    def fill(self, examples: Sequence[VoiceExample], *, soft: bool = False) -> list[SoftCodes]:
        """Find the most probable codes of all levels above those that the targets have.

        Args:
            examples: prompts with codes of all levels `[K, T]`, targets with those of level 0 `[1, T']` at least.
            soft: also how probable all codes of these levels are.

        Returns:
            For each example its target's codes of all levels `[K, T']`. A level's probabilities are those beside the
            most probable codes of the levels below it.
        """
        known = {len(example.target.codes) for example in examples}
        if len(known) != 1 or any(len(example.prompt.codes) != self._spans.levels for example in examples):
            raise InputError(
                f"synthesize: prompts have codes of {self._spans.levels} levels, and targets all of equally many"
            )
        batch = _Batch.of([self.writer.example(example) for example in examples], self._spans.levels, self._device)
        steps, asked = batch.steps, batch.asked
        frames = asked.sum(dim=1).tolist()
        chances: list[list[NDArray[np.float32]]] = [[] for _ in examples]
        for number in range(known.pop(), self._spans.levels):
            level = torch.full((len(examples),), number, device=steps.device)
            logits = _score(self._model, self._spans, batch, level)
            steps[..., 1 + number][asked] = logits.argmax(dim=-1) + self._spans.first(level[0])
            if not soft:
                continue
            for found, part in zip(chances, torch.split(logits.float().softmax(dim=-1), frames), strict=True):
                found.append(part.cpu().numpy())
        first = self._spans.first(torch.arange(self._spans.levels, device=steps.device))
        codes = [(row[mask][:, 1:] - first).T.cpu().numpy() for row, mask in zip(steps, asked, strict=True)]
        return [
            SoftCodes(one, np.stack(found)) if found else SoftCodes.certain(one)
            for one, found in zip(codes, chances, strict=True)
        ]

    @property
    def _device(self) -> torch.device:
        return self._model.embedding.weight.device


@torch.inference_mode()
def count_other_levels_hits(spans: CodeSpans, model: Decoder, example: Example) -> dict[int, tuple[int, int]]:
    """For each level, how many codes the model would have chosen above the true ones, and of how many."""
    batch = _Batch.of([example], spans.levels, model.embedding.weight.device)
    hits = {}
    for number in range(1, spans.levels):
        level = torch.full((1,), number, device=batch.steps.device)
        best = _score(model, spans, batch, level).argmax(dim=-1)
        right = best + spans.first(level) == batch.steps[..., 1 + number][batch.asked]
        hits[number] = (int(right.sum()), len(right))
    return hits


@dataclass(frozen=True, eq=False)
class _Batch:
    """Steps `[B, S, 1 + K]`, asked frames, conditions and, where rows are padded, segments `[B, S]`."""

    steps: Tensor
    asked: Tensor
    conditions: Tensor
    segments: Tensor | None

    @classmethod
    def of(cls, examples: Sequence[Example], levels: int, device: torch.device) -> _Batch:
        """Put examples of one length or several into rows."""
        shape = (len(examples), max(len(example.ids) for example in examples))
        steps = np.full((*shape, 1 + levels), ABSENT, np.int64)
        asked, conditions = np.zeros(shape, np.bool_), np.full(shape, ABSENT, np.int64)
        segments = np.full(shape, ABSENT, np.int64)
        for row, example in enumerate(examples):
            stop = len(example.ids)
            steps[row, :stop], asked[row, :stop], segments[row, :stop] = example.ids, example.loss_mask, 0
            if example.conditions is not None:
                conditions[row, :stop] = example.conditions
        on_device = [torch.from_numpy(values).to(device) for values in (steps, asked, conditions, segments)]
        return cls(on_device[0], on_device[1], on_device[2], on_device[3] if (segments < 0).any() else None)


def _score(model: Decoder, spans: CodeSpans, batch: _Batch, level: Tensor) -> Tensor:
    """Logits of the codes of each frame that is asked for, row by row: `[N, size]`."""
    logits = model(
        spans.hide(batch.steps, batch.asked, level),
        segments=batch.segments,
        conditions=batch.conditions,
        stage=level - 1,
        at=batch.asked,
        among=spans.ids(level),
    )
    return cast(Tensor, logits)


def build_other_levels_vocabulary(clusters: int, codes: CodesInfo) -> Vocabulary:
    """Units, and the codes of all levels, which lie side by side."""
    levels = (UnitAlphabet(f"codec.{level}", codes.codebook_size) for level in range(codes.levels))
    return Vocabulary([UnitAlphabet(UNITS, clusters), *levels])
