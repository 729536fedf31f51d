"""A trained local model in memory: prompts, greedy answers, drawn answers, and what it makes of a given answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from molregpt.errors import InputError
from molregpt.local.language import TASKS, fill_slots
from molregpt.local.ranking import RELATIVES_BY_DEFAULT, Stage, Weights
from molregpt.naming import shared_namer
from molregpt.records import Direction, Pair, Question
from unitlm.adapt import KIND as ADAPTER
from unitlm.adapt import load_adapter, prompt_ids
from unitlm.alphabet import Content
from unitlm.cache import KeyValueCache
from unitlm.checkpoint import MANIFEST, load_model, read_manifest
from unitlm.drafts import continue_with_drafts
from unitlm.files import Json
from unitlm.generate import Continuation, continue_rows, prefill
from unitlm.language_model import LanguageModel, pack_decoder
from unitlm.model import Decoder
from unitlm.sampling import Choices, Sampling
from unitlm.scoring import read_padded, score_continuations
from unitlm.settings import parse_settings
from unitlm.vocabulary import Vocabulary

TUNED = ("composing", "ranking")
"""What `tune` writes into a model's card."""

DRAWING = Sampling(temperature=0.8, top_p=0.95)

ENDLESS = "the answer does not end"
"""What is wrong with an answer that runs on to the limit: it says the same again and again, ever more sure of it."""


@dataclass(frozen=True, slots=True)
class Composing:
    """How captions are put together.

    Attributes:
        model: Share of the votes that is the model's, 0 to 1; the rest is its neighbours'.
    """

    model: float = 0.8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as the model reads it.

    Attributes:
        ids: Token ids up to the opening mark of the answer.
        alphabet: What the answer is written in.
        shown: The examples that fit, the most similar first.
    """

    ids: tuple[int, ...]
    alphabet: str
    shown: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A question that the model has read.

    Attributes:
        prompt: The question.
        choices: What an answer may be written in.
        hidden: State behind the last step, `[1, D]`.
        cache: Keys and values of the prompt, with room for an answer; never written to.
    """

    prompt: Prompt
    choices: Choices
    hidden: Tensor
    cache: KeyValueCache


class LocalModel:
    """A decoder with its vocabulary, as `molregpt train` or `molregpt adapt` left it."""

    def __init__(self, decoder: Decoder, vocabulary: Vocabulary, card: dict[str, Json], digest: str) -> None:
        """Put together what `load_local_model` read."""
        self.decoder, self.vocabulary, self.card, self.digest = decoder, vocabulary, card, digest
        self.name: Callable[[str], str] = shared_namer() if card.get("names") else _leave_unnamed
        """The systematic name of a molecule, where the model was trained with names; else empty."""
        self.shots, self.longest = int(str(card["shots"])), int(str(card["longest"]))
        # Learned vectors of an adapter stand before everything else, as they did in training.
        self._learned = tuple(prompt_ids(decoder))

    @cached_property
    def packed(self) -> LanguageModel:
        """What writes: packed at first use, since an adapter may still change the decoder until then."""
        return pack_decoder(self.decoder)

    def weights(self, stage: Stage) -> Weights:
        """How candidates are ranked: as the model's card says, or by default."""
        ranking = self.card.get("ranking")
        stored = ranking.get(stage) if isinstance(ranking, dict) else None
        if not isinstance(stored, dict):
            return RELATIVES_BY_DEFAULT if stage == "relatives" else Weights()
        # Cards of before some judgement was thought of do not know it, and the rest was weighed without it.
        known = dict.fromkeys(asdict(Weights()), 0.0) | stored
        return parse_settings(Weights, known, f"the model's card: ranking of {stage}")

    @property
    def composing(self) -> Composing:
        """How captions are put together: as the model's card says, or by default."""
        stored = self.card.get("composing")
        known = stored if isinstance(stored, dict) else {}
        found = parse_settings(Composing, known, "the model's card: composing")
        if not 0.0 <= found.model <= 1.0:
            raise InputError(f"the model's card: composing: a share of {found.model} is not between 0 and 1")
        return found

    def read(self, question: Question) -> Prompt:
        """Write a question as ids, with as many of the nearest examples as fit.

        Raises:
            InputError: The query alone is longer than what the model was trained on.
        """
        if question.direction == "cap2mol":
            return self._read(question, {"caption": question.query})
        named = {"molecule": question.query, "name": self.name(question.query)}
        try:
            return self._read(question, named)
        except InputError:
            # Of what takes too much room, the name can be done without.
            return self._read(question, named | {"name": ""})

    def _read(self, question: Question, query: Mapping[str, Content]) -> Prompt:
        task = TASKS[question.direction]
        # A quarter of what the model knows as a length is kept for the answer.
        most = self.longest * 3 // 4
        for count in range(min(self.shots, len(question.examples)), -1, -1):
            shown = tuple(example.pair for example in question.examples[:count])
            cases = [self._fill(question.direction, pair) for pair in reversed(shown)]
            prompt = task.prompt(query, self.vocabulary, cases)
            ids = (*self._learned, *prompt.ids)
            if len(ids) <= most:
                return Prompt(ids, prompt.slot.alphabet, shown)
        raise InputError(f"the query takes {len(ids)} tokens; the model reads {most}")

    def _fill(self, direction: Direction, pair: Pair) -> dict[str, Content]:
        name = self.name(pair.smiles) if direction == "mol2cap" else ""
        return fill_slots(direction, pair.smiles, pair.caption, name)

    @torch.inference_mode()
    def open(self, question: Question) -> Reading:
        """Read a question; everything that is then written or scored goes on from there.

        Raises:
            InputError: The query alone is longer than what the model was trained on.
        """
        prompt = self.read(question)
        hidden, cache = prefill(self.packed, [prompt.ids], self.longest - len(prompt.ids))
        return Reading(prompt, Choices.of(self.vocabulary, prompt.alphabet), hidden, cache)

    def write(self, reading: Reading, drafts: Sequence[str]) -> Continuation:
        """The greedy answer; `drafts`, such as the examples' own answers, make it faster and do not change it."""
        return continue_with_drafts(
            self.packed,
            reading.hidden,
            reading.cache.copies(1),
            reading.choices,
            [self.vocabulary.encode(reading.prompt.alphabet, draft) for draft in drafts],
            limit=self.longest - len(reading.prompt.ids),
        ).continuation

    @torch.inference_mode()
    def draw(self, reading: Reading, count: int, seed: int) -> list[Continuation]:
        """Draw `count` answers."""
        return continue_rows(
            self.packed,
            reading.hidden.expand(count, -1),
            reading.cache.copies(count),
            reading.choices,
            steps=self.longest - len(reading.prompt.ids),
            lengths=None,
            sampling=DRAWING,
            generator=torch.Generator().manual_seed(seed),
        )

    def write_several(self, reading: Reading, drafts: Sequence[str], count: int, seed: int) -> list[Continuation]:
        """The greedy answer, then those of `count` drawn ones that end."""
        drawn = self.draw(reading, count, seed) if count else []
        return [self.write(reading, drafts), *(one for one in drawn if one.ended)]

    def score(self, reading: Reading, answers: Sequence[str]) -> list[Continuation]:
        """What the model thinks of answers from elsewhere; those that are too long are cut."""
        room = self.longest - len(reading.prompt.ids)
        ids = [self.vocabulary.encode(reading.prompt.alphabet, answer)[:room] for answer in answers]
        return score_continuations(self.packed, reading.hidden, reading.cache, reading.choices, ids)

    def text(self, prompt: Prompt, continuation: Continuation) -> str:
        """What a continuation says."""
        return str(self.vocabulary.decode(prompt.alphabet, continuation.ids))

    @torch.inference_mode()
    def round_trip(self, caption: str, molecules: Sequence[str]) -> list[float]:
        """How well each molecule that a caption may mean leads back to the caption.

        No examples are shown: much of a caption can be copied from them, whatever the molecule.

        Returns:
            Mean log-probability of the caption's pieces given the molecule, in nats, in the order of `molecules`.
        """
        ids, masks = [], []
        for smiles in molecules:
            compiled = TASKS["mol2cap"].compile(self._fill("mol2cap", Pair("", smiles, caption)), self.vocabulary)
            ids.append(torch.tensor([*self._learned, *compiled.ids]))
            masks.append(torch.tensor([False] * len(self._learned) + list(compiled.loss_mask)))
        padded, learned = pad_sequence(ids, batch_first=True), pad_sequence(masks, batch_first=True)  # [N, S]
        targets = padded[:, 1:][learned[:, 1:]]  # [M]
        cache = KeyValueCache(self.decoder.config, len(molecules), padded.shape[1] - 1)
        lengths = [len(row) - 1 for row in ids]
        states = read_padded(self.packed, self.packed.embed(padded[:, :-1]), lengths, cache)  # [N, S - 1, D]
        logits = self.decoder.project(states[learned[:, 1:]])  # [M, V]
        gains = -F.cross_entropy(logits.float(), targets, reduction="none")
        counts = learned.sum(dim=1).tolist()
        return [float(part.mean()) for part in torch.split(gains, counts)]


def load_local_model(folder: Path) -> LocalModel:
    """Load a folder of `molregpt train`, or one of `molregpt adapt` with the base that it names.

    Raises:
        InputError: The folder holds no such model, is damaged, or its base is not there or another one.
    """
    manifest = read_manifest(folder)
    # The manifest names every weight file by its hash, so its own hash names the model.
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:16]
    card = manifest["metadata"]
    if manifest["kind"] == ADAPTER and isinstance(card, dict) and isinstance(card.get("base_folder"), str):
        base = load_local_model(find_model(str(card["base_folder"])))
        load_adapter(folder, base.decoder)
        return LocalModel(base.decoder.eval(), base.vocabulary, {**base.card, **card}, digest)
    if not isinstance(card, dict) or not isinstance(card.get("shots"), int) or not isinstance(card.get("longest"), int):
        raise InputError(f"{folder}: not a model of `molregpt train`")
    return LocalModel(load_model(folder).float(), Vocabulary.load(folder / "vocabulary.json"), dict(card), digest)


def _leave_unnamed(_smiles: str) -> str:
    return ""


def find_model(spec: str) -> Path:
    """The folder of a model: `local` is the one that ships with the package, anything else a path.

    Raises:
        InputError: There is no such folder.
    """
    from molregpt.local.shipped import SHIPPED_NAME, shipped_model

    folder = shipped_model() if spec == SHIPPED_NAME else Path(spec)
    if not folder.is_dir():
        raise InputError(f"{spec}: no such model folder")
    return folder
