"""A finished stage: a folder with weights, vocabulary and `stage.json`, which says what it is and was trained on.

`stage.json` is written last: a folder that has it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polyvoice.errors import InputError
from polyvoice.tasks import Direction, parse_directions
from speechunits.extracted import CodesInfo, UnitsInfo
from unitlm.files import Json, read_json, replacing, write_json
from unitlm.metrics import read_metrics
from unitlm.settings import parse_settings

if TYPE_CHECKING:
    from polyvoice.stages.presets import StageName
    from unitlm.model import Decoder
    from unitlm.vocabulary import Vocabulary

FILE = "stage.json"
VOCABULARY = "vocabulary.json"
FORMAT = "polyvoice.stage.1"


@dataclass(frozen=True)
class TrainedOn:
    """What a stage learned from.

    Attributes:
        manifest: name of the pair manifest.
        digest: of manifest and extracted shards, see `digest_inputs`.
        pairs: pairs of the split train.
        step: the last step taken.
        held_out_loss: loss per target on the split dev at the end, in nats; None without such a split.
    """

    manifest: str
    digest: str
    pairs: int
    step: int
    held_out_loss: float | None


@dataclass(frozen=True)
class StageCard:
    """What a finished stage is.

    Attributes:
        stage: which one.
        directions: what it was trained for.
        units: what its units are.
        codes: what its codes are; None for stages without any.
        parameters: how many the model has.
        settings: resolved settings of the training, by group.
        trained_on: what it learned from.
    """

    stage: StageName
    directions: tuple[Direction, ...]
    units: UnitsInfo
    codes: CodesInfo | None
    parameters: int
    settings: Mapping[str, Json]
    trained_on: TrainedOn


def write_stage(
    folder: Path, model: Decoder, vocabulary: Vocabulary, card: StageCard, files: Sequence[Path] = ()
) -> None:
    """Write a finished stage; the weights go in the model's own type, and copies of `files` beside them."""
    from unitlm.checkpoint import save_model

    (folder / FILE).unlink(missing_ok=True)
    save_model(folder, model)
    for path in files:
        with replacing(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    vocabulary.save(folder / VOCABULARY)
    values = {**asdict(card), "directions": [str(direction) for direction in card.directions]}
    write_json(folder / FILE, {"format": FORMAT, **values})


def is_written(folder: Path, model: Decoder, card: StageCard, files: Sequence[Path] = ()) -> bool:
    """Whether a folder holds the stage with these very weights, trained on the same for as long, and files so named."""
    from unitlm.checkpoint import load_model

    if not all((folder / name).is_file() for name in (FILE, *(path.name for path in files))):
        return False
    mine = read_stage(folder, card.stage).trained_on
    if (mine.digest, mine.step) != (card.trained_on.digest, card.trained_on.step):
        return False
    written, weights = load_model(folder).state_dict(), model.state_dict()
    return written.keys() == weights.keys() and all(value.equal(weights[name]) for name, value in written.items())


def read_stage(folder: Path, stage: StageName | None = None) -> StageCard:
    """Read what a finished stage is.

    Args:
        folder: the stage's folder.
        stage: which it has to be; any when not given.

    Raises:
        InputError: the folder holds no finished stage, or another one.
        unitlm.errors.InputError: `stage.json` is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: not a finished stage (no {FILE})")
    values = read_json(path)
    if values.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not of format {FORMAT}")
    if stage is not None and values.get("stage") != stage:
        raise InputError(f"{path}: stage {values.get('stage')!r}, expected {stage!r}")
    try:
        codes = values["codes"]
        return StageCard(
            stage=cast("StageName", values["stage"]),
            directions=parse_directions(cast("list[Json]", values["directions"]), str(path)),
            units=parse_settings(UnitsInfo, _mapping(values["units"]), f"{path}: units"),
            codes=None if codes is None else parse_settings(CodesInfo, _mapping(codes), f"{path}: codes"),
            parameters=parse_count(values["parameters"], f"{path}: parameters"),
            settings=_mapping(values["settings"]),
            trained_on=parse_settings(TrainedOn, _mapping(values["trained_on"]), f"{path}: trained_on"),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: malformed ({type(error).__name__}: {error})") from error


def parse_count(value: Json, where: str) -> int:
    """A number of things; InputError that begins with `where` when it is none."""
    if type(value) is not int:
        raise InputError(f"{where} must be a whole number, found {value!r}")
    return value


def _mapping(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object, found {value!r}")
    return value


def read_scores(run_folder: Path) -> list[dict[str, float]]:
    """What a run's diary says of the finished stage: the lines that tell no loss."""
    return [row for row in read_metrics(run_folder) if not row.keys() & {"loss", "held_out_loss"}]
