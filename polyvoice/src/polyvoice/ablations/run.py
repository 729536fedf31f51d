"""Carrying out a plan: every variant is trained, packed and judged by the ordinary commands, and is as restartable."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from polyvoice.ablations.plan import STAGES, Plan, PlanParts, Variant
from polyvoice.digests import digest_files
from polyvoice.errors import INPUT_ERRORS, InputError
from polyvoice.stages.stage_folder import read_scores, read_stage
from unitlm.files import Json, read_json, write_json, write_text

Runner = Callable[[Sequence[str]], None]

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "translate": ("translate",),
    "duration": ("duration",),
    "first_level": ("synthesize", "first-level"),
    "other_levels": ("synthesize", "other-levels"),
}


@dataclass(frozen=True)
class Row:
    """What came of a variant.

    Attributes:
        variant: which.
        figures: by name, in the order in which they are shown; those of a training begin with their stage.
    """

    variant: Variant
    figures: Mapping[str, float]


def run_plan(plan: Plan, out: Path, run: Runner) -> list[Row]:
    """Train, pack and judge every variant, and write `table.md` and `table.json` into `out`.

    Equal trainings, equal bundles and equal translations are made once.

    Args:
        plan: what is compared.
        out: where everything goes.
        run: runs one command, such as `["train", "translate", ...]`.

    Raises:
        InputError: a command refused its input; the message names the variant.
    """
    rows: list[Row] = []
    for variant in plan.variants:
        rows.append(Row(variant, _Work(plan, variant, out, run).figures()))
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


def collect_values(scores: Mapping[str, Json]) -> dict[str, float]:
    """The scores of an evaluation over all rows, by name."""
    values: dict[str, float] = {}
    for name, score in scores.items():
        if isinstance(score, Mapping) and isinstance(score.get("value"), int | float):
            values[name] = float(cast("float", score["value"]))
    return values


@dataclass(frozen=True)
class _Work:
    """One variant on its way through the commands."""

    plan: Plan
    variant: Variant
    out: Path
    run: Runner

    def figures(self) -> dict[str, float]:
        """Do everything; the scores of the speech, and then the figures of its trainings."""
        trained = {stage: self._train(stage, options) for stage, options in self._trainings().items()}
        scores = self._judge(trained) if self.plan.is_spoken(self.variant) else {}
        for stage, folder in trained.items():
            scores |= {f"{stage}.{name}": value for name, value in _read_figures(folder).items()}
        return scores

    def _trainings(self) -> dict[str, tuple[str, ...]]:
        """The stages to train, each with all its options."""
        plan, own = self.plan, self.variant.train
        trainings: dict[str, tuple[str, ...]] = {}
        for stage in STAGES:
            common, options = plan.common.of(stage), own.of(stage)
            needed = plan.is_packed(self.variant) and not cast("PlanParts", plan.parts).stage(stage)
            if options is not None or (needed and common is not None):
                trainings[stage] = (*(common or ()), *(options or ()))
        return trainings

    def _train(self, stage: str, options: tuple[str, ...]) -> Path:
        """Train one stage; gives the run's folder."""
        folder = self.out / "runs" / f"{stage}-{_digest(stage, *options)}"
        data = [self._path(self.plan.manifest), self._path(self.plan.extracted)]
        self._command("train", *_COMMANDS[stage], *data, str(folder), *options)
        return folder

    def _pack(self, parts: PlanParts, trained: Mapping[str, Path]) -> Path:
        """Make the variant's bundle, unless it is there."""
        finished = {stage: self._path(parts.stage(stage)) for stage in STAGES if parts.stage(stage)}
        stages = finished | {stage: str(folder) for stage, folder in trained.items()}
        for stage in ("translate", "duration", "first_level"):  # a codec of one level has no others
            if stage not in stages:
                raise InputError(
                    f"variant {self.variant.name!r}: where does stage {stage} come from? "
                    f"Give parts.{stage}, common.{stage} or train.{stage}"
                )
        own = {"encoder": self._path(parts.encoder), "kmeans": self._path(parts.kmeans), "codec": self._codec(parts)}
        given = [f"--{name.replace('_', '-')}={where}" for name, where in {**own, **stages}.items()]
        # A codec may be written as NAME:FILE or FOLDER@LEVELS.
        places = (re.sub(r"^encodec-[^:]*:|@[0-9]+$", "", where) for where in {**own, **stages}.values())
        contents = (_digest_content(Path(place)) for place in places)
        bundle = self.out / "bundles" / _digest(*given, str(parts.layer), *contents)
        if not bundle.exists():  # a bundle appears when it is complete
            self._command("bundle", "--out", str(bundle), "--layer", str(parts.layer), *given)
        return bundle

    def _judge(self, trained: Mapping[str, Path]) -> dict[str, float]:
        """Translate the test manifest and score the speech, or score the speech that is there."""
        variant, plan = self.variant, self.plan
        if variant.outputs:
            system = ["--outputs", self._path(variant.outputs)]
        elif variant.bundle:
            system = ["--bundle", self._path(variant.bundle), *variant.pipeline]
        else:
            system = ["--bundle", str(self._pack(cast("PlanParts", plan.parts), trained)), *variant.pipeline]
        test = self._path(variant.test or plan.test)
        folder = self.out / "evaluations" / _digest(test, *system)
        self._command("evaluate", test, str(folder), *system, *plan.evaluate)
        return collect_values(read_json(folder / "scores.json"))

    def _codec(self, parts: PlanParts) -> str:
        """A codec as `polyvoice bundle` takes it: a folder of our own, perhaps @LEVELS, or a published one's name."""
        name, colon, weights = parts.codec.partition(":")
        if colon:
            return f"{name}:{self._path(weights)}"
        return name if name.startswith("encodec-") else self._path(name)

    def _path(self, inside: str) -> str:
        return str(self.plan.folder / inside)

    def _command(self, *words: str) -> None:
        print(f"{self.variant.name}: polyvoice {' '.join(words)}", file=sys.stderr, flush=True)
        try:
            self.run(words)
        except INPUT_ERRORS as error:
            raise InputError(f"variant {self.variant.name!r}: {error}") from error


def _read_figures(run: Path) -> dict[str, float]:
    """What a finished stage and the diary of its training say."""
    card = read_stage(run / "model")
    figures: dict[str, float] = {"parameters": card.parameters, "steps": card.trained_on.step}
    if card.trained_on.held_out_loss is not None:
        figures["held_out_loss"] = card.trained_on.held_out_loss
    for row in read_scores(run / "train"):
        figures |= {name: value for name, value in row.items() if name != "step"}
    return figures


def _digest_content(part: Path) -> str:
    """A digest of a part's files: what is trained further keeps its path. Empty where there is no such path.

    Of a run's folder only the finished stage counts.
    """
    model = part / "model"
    return digest_files(model if model.is_dir() else part)


def _digest(*words: str) -> str:
    """A name of a folder, for what may hold anything."""
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]
