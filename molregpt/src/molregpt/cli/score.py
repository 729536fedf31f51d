"""`molregpt score`: score predictions that were made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from molregpt.records import Direction


@dataclass(frozen=True, slots=True)
class Score:
    """Score a table of predictions against a test table, whoever made them.

    Attributes:
        direction: mol2cap reads the column caption_prediction, cap2mol reads smiles_prediction.
        test: Table of references (CID, SMILES, description).
        predictions: Table of predictions (CID and the column above).
        out: Folder for scores.json and rows.jsonl.
        tokenizer: What BLEU and METEOR of captions count: scibert, words, whitespace, or a tokenizer.json.
        mode: How molecules are compared: strict, or paper for the quirks of the published scripts.
        json: Print scores.json on stdout instead of a table.
    """

    direction: Positional[Direction]
    test: Path
    predictions: Path
    out: Path
    tokenizer: str = "scibert"
    mode: Literal["strict", "paper"] = "strict"
    json: bool = False

    def run(self) -> None:
        """Score, and print the scores."""
        from molregpt.cli.output import print_file_scores
        from molregpt.metrics.score_file import score_file

        scores = score_file(
            self.direction, self.test, self.predictions, self.out, tokenizer=self.tokenizer, mode=self.mode
        )
        print_file_scores(scores, f"{self.direction}, {self.predictions.name}", self.out, as_json=self.json)
