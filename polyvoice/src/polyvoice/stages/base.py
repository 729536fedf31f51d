"""A finished stage that another training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.digests import digest_files
from polyvoice.errors import InputError
from polyvoice.stages.stage_folder import VOCABULARY, StageCard, read_stage
from polyvoice.tasks import Direction, languages_of
from unitlm.carrying import carry_weights
from unitlm.checkpoint import load_model
from unitlm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from polyvoice.stages.presets import StageName
    from speechunits.extracted import CodesInfo, UnitsInfo
    from unitlm.model import Decoder


@dataclass(frozen=True)
class Base:
    """The stage whose weights go on learning.

    Attributes:
        folder: where it lies: `RUN/model`, or a stage's folder in a bundle.
        card: what it is.
        vocabulary: its ids, which the new training keeps, unless it has a vocabulary of its own.
        renewed: whether it has.
    """

    folder: Path
    card: StageCard
    vocabulary: Vocabulary
    renewed: bool = False

    @classmethod
    def open(cls, folder: str, stage: StageName, *, renewed: bool = False) -> Base | None:
        """Read all but the weights; None where `folder` is empty.

        Raises:
            InputError: there is no finished stage of this kind.
        """
        if not folder:
            return None
        path = Path(folder)
        return cls(path, read_stage(path, stage), Vocabulary.load(path / VOCABULARY), renewed)

    @cached_property
    def digest(self) -> str:
        """Of everything in its folder."""
        return digest_files(self.folder)[:16]

    def check_data(self, units: UnitsInfo, codes: CodesInfo | None) -> None:
        """Raise InputError unless the data's units and codes are those that the model knows."""
        for name, mine, found in (("units", self.card.units, units), ("codes", self.card.codes, codes)):
            if mine != found:
                raise InputError(f"{self.folder}: was trained on {name} of {mine}, and these are of {found}")

    def check_languages(self, directions: Sequence[Direction]) -> None:
        """Raise InputError unless the model knows the languages; with a vocabulary of its own any will do.

        The translation model knows them by words of its tasks, the other stages by numbers, which must be the same.
        """
        if self.renewed:
            return
        mine, wanted = languages_of(self.card.directions), languages_of(directions)
        if self.card.stage == "translate":
            if new := [language for language in wanted if language not in mine]:
                raise InputError(f"{self.folder}: knows {', '.join(mine)}, not {', '.join(new)}")
        elif mine != wanted:
            raise InputError(f"{self.folder}: knows {', '.join(mine)} in this order, not {', '.join(wanted)}")

    def give_weights(self, model: Decoder, vocabulary: Vocabulary) -> None:
        """Copy the weights into a model with this vocabulary; InputError when it has another shape."""
        mine = load_model(self.folder).float()
        size = model.config.vocabulary_size if self.renewed else mine.config.vocabulary_size
        if replace(mine.config, dropout=model.config.dropout, vocabulary_size=size) != model.config:
            raise InputError(f"{self.folder}: the model has another shape than the preset gives")
        weights = mine.state_dict()
        if self.renewed:
            weights = carry_weights(weights, model.state_dict(), vocabulary, self.vocabulary)
        model.load_state_dict(weights)
