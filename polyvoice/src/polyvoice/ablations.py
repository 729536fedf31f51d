"""Ablations: a plan of named variants, each trained and scored by the ordinary commands, becomes one table.

A plan is a TOML file; paths in it are relative to its folder:

    manifest = "pairs.tsv"
    extracted = "extracted"

    [common]
    translate = ["--preset", "small", "--steps", "20000"]

    [[variants]]
    name = "all tasks"
    stage = "translate"

    [[variants]]
    name = "prefix LM"
    stage = "translate"
    options = ["--prefix-lm"]

    [[variants]]
    name = "no duration LM"
    outputs = "speech/no-duration"
    test = "test.tsv"

A variant with a stage is trained, and its figures are those of the finished stage and of the last line of its
`metrics.jsonl`; one with outputs, speech that some system has made, is judged by `polyvoice evaluate`. Both may stand
in one variant. Everything is as restartable as the commands are.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polyvoice.errors import InputError
from polyvoice.stages.stage_folder import read_stage
from speechunits.errors import InputError as SpeechUnitsInputError
from unitlm.errors import InputError as UnitLMInputError
from unitlm.files import Json, read_json, write_json, write_text
from unitlm.metrics import read_metrics
from unitlm.settings import parse_settings

if TYPE_CHECKING:
    from polyvoice.stages.presets import StageName

Runner = Callable[[Sequence[str]], None]

STAGE_COMMANDS: Mapping[StageName, tuple[str, ...]] = {
    "translate": ("translate",),
    "duration": ("duration",),
    "first_level": ("synthesize", "first-level"),
    "other_levels": ("synthesize", "other-levels"),
}


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: what it is called.
        stage: what is trained; empty when nothing is.
        options: of the training, beside those that are common to the stage.
        outputs: folder of speech to judge; empty when there is none.
        test: pair manifest that the speech belongs to.

    Raises:
        InputError: there is nothing to do, an unknown stage, or outputs without a test or a test without outputs.
    """

    name: str
    stage: str = ""
    options: tuple[str, ...] = ()
    outputs: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        if not self.stage and not self.outputs:
            raise InputError(f"variant {self.name!r}: neither a stage to train nor outputs to judge")
        if self.stage and self.stage not in STAGE_COMMANDS:
            raise InputError(f"variant {self.name!r}: stage {self.stage!r} is none of {', '.join(STAGE_COMMANDS)}")
        if bool(self.outputs) != bool(self.test):
            raise InputError(f"variant {self.name!r}: outputs and test go together")


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        folder: where paths start from.
        manifest: pair manifest of all trainings.
        extracted: its extracted folder.
        common: options of every training of a stage.
        evaluate: options of every `polyvoice evaluate`.
        variants: the rows.
    """

    folder: Path
    manifest: str
    extracted: str
    common: Mapping[str, Sequence[str]]
    evaluate: tuple[str, ...]
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Row:
    """What came of a variant.

    Attributes:
        variant: which.
        figures: by name, in the order in which they are shown.
    """

    variant: Variant
    figures: Mapping[str, float]


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: it cannot be read, or is not as described above.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # broken TOML, or broken UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error
    for key in values:
        if key not in ("manifest", "extracted", "common", "evaluate", "variants"):
            raise InputError(f"{path}: unknown key {key!r}")
    variants = tuple(
        parse_settings(Variant, _table(value, f"{path}: a variant"), f"{path}: variant {number}")
        for number, value in enumerate(values.get("variants", []), start=1)
    )
    names = [variant.name for variant in variants]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path}: needs variants, each with a name of its own")
    common = {
        stage: _words(words, f"{path}: common.{stage}")
        for stage, words in _table(values.get("common", {}), f"{path}: common").items()
    }
    for stage in common:
        if stage not in STAGE_COMMANDS:
            raise InputError(f"{path}: common.{stage} is none of {', '.join(STAGE_COMMANDS)}")
    return Plan(
        folder=path.parent,
        manifest=str(values.get("manifest", "")),
        extracted=str(values.get("extracted", "")),
        common=common,
        evaluate=_words(values.get("evaluate", []), f"{path}: evaluate"),
        variants=variants,
    )


def run_plan(plan: Plan, out: Path, run: Runner) -> list[Row]:
    """Train and judge every variant, and write `table.md` and `table.json` into `out`.

    Variants with equal trainings share one run.

    Args:
        plan: what is compared.
        out: where everything goes.
        run: runs one command, such as `["train", "translate", ...]`.

    Raises:
        InputError: a command refused its input; the message names the variant.
    """
    rows = []
    for variant in plan.variants:
        figures: dict[str, float] = {}
        if variant.stage:
            figures |= _train(plan, variant, out, run)
        if variant.outputs:
            figures |= _judge(plan, variant, out, run)
        rows.append(Row(variant, figures))
        # After each variant, as the next may take a day.
        write_text(out / "table.md", format_table(rows))
        write_json(out / "table.json", {"rows": [asdict(row) for row in rows]})
    return rows


def format_table(rows: Sequence[Row]) -> str:
    """A Markdown table: a row a variant, a column a figure that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [["variant", *names], ["---"] * (1 + len(names))]
    for row in rows:
        cells = (f"{row.figures[name]:,.4g}" if name in row.figures else "" for name in names)
        lines.append([row.variant.name.replace("|", "\\|"), *cells])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _train(plan: Plan, variant: Variant, out: Path, run: Runner) -> dict[str, float]:
    words = STAGE_COMMANDS[cast("StageName", variant.stage)]
    options = [*plan.common.get(variant.stage, ()), *variant.options]
    digest = hashlib.sha256(json.dumps([variant.stage, *options]).encode()).hexdigest()[:12]
    folder = out / "runs" / f"{variant.stage}-{digest}"
    data = [str(plan.folder / plan.manifest), str(plan.folder / plan.extracted)]
    _run_command(run, variant, ["train", *words, *data, str(folder), *options])
    card = read_stage(folder / "model")
    figures: dict[str, float] = {"parameters": card.parameters, "steps": card.trained_on.step}
    if card.trained_on.held_out_loss is not None:
        figures["held_out_loss"] = card.trained_on.held_out_loss
    for row in read_metrics(folder / "train"):
        if "loss" not in row and "held_out_loss" not in row:  # what a stage adds when it is finished
            figures |= {name: value for name, value in row.items() if name != "step"}
    return figures


def _judge(plan: Plan, variant: Variant, out: Path, run: Runner) -> dict[str, float]:
    # By a digest: a name may hold anything, also what is no name of a folder.
    folder = out / "evaluations" / hashlib.sha256(variant.name.encode()).hexdigest()[:12]
    outputs = ["--outputs", str(plan.folder / variant.outputs)]
    _run_command(run, variant, ["evaluate", str(plan.folder / variant.test), str(folder), *outputs, *plan.evaluate])
    return collect_values(read_json(folder / "scores.json"))


def collect_values(scores: Mapping[str, Json]) -> dict[str, float]:
    """The scores of an evaluation over all rows, by name."""
    values: dict[str, float] = {}
    for name, score in scores.items():
        if isinstance(score, Mapping) and isinstance(score.get("value"), int | float):
            values[name] = float(cast("float", score["value"]))
    return values


def _run_command(run: Runner, variant: Variant, words: Sequence[str]) -> None:
    print(f"{variant.name}: polyvoice {' '.join(words)}", file=sys.stderr, flush=True)
    try:
        run(words)
    except (InputError, SpeechUnitsInputError, UnitLMInputError) as error:
        raise InputError(f"variant {variant.name!r}: {error}") from error


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a table, found {value!r}")
    return value


def _words(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InputError(f"{where} must be a list of strings, found {value!r}")
    return tuple(value)
