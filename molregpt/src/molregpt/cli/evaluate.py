"""`molregpt evaluate`: answer a whole test table and score the answers beside the neighbour baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.backends.options import BackendOptions
from molregpt.evaluation.options import EvaluationOptions
from molregpt.records import Direction


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Answer every row of a test table and score the answers beside copying the nearest neighbour.

    Killed runs go on where they stopped: give the same command again.

    Attributes:
        direction: mol2cap describes molecules, cap2mol proposes them.
        test: Table of questions (CID, SMILES, description).
        out: Folder for scores.json, rows.jsonl and report.html.
        backend: neighbour (copy the best), local (the model that ships), the folder of a model of `molregpt train`, or
            the URL of an OpenAI-compatible server.
        json: Print scores.json on stdout instead of a table.
        options: How the run is made.
        settings: How the back end is used.
    """

    direction: Positional[Direction]
    test: Path
    out: Path
    backend: str = "neighbour"
    json: bool = False
    options: Annotated[EvaluationOptions, arg(name="")] = field(default_factory=EvaluationOptions)
    settings: Annotated[BackendOptions, arg(name="")] = field(default_factory=BackendOptions)

    def run(self) -> None:
        """Run the evaluation, and print its scores."""
        from molregpt.cli.output import print_evaluation
        from molregpt.report.evaluate import evaluate

        result = evaluate(self.direction, self.test, self.out, self.backend, self.options, self.settings)
        print_evaluation(result, self.out, as_json=self.json)
