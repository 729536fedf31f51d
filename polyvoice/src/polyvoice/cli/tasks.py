"""`polyvoice tasks`: show a pair as the translation model is trained on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from polyvoice.errors import InputError


@dataclass(frozen=True, slots=True)
class Tasks:
    """Print one pair in every task of the translation model, token by token; what the model writes is starred.

    Attributes:
        manifest: Pair manifest.
        extracted: Folder of `speechunits extract`.
        vocabulary: Bundle, run or finished stage whose tokens are shown.
        id: The pair; the manifest's first when not given.
        reverse: Show it in the opposite direction.
        json: Print one JSON object.
    """

    manifest: Positional[Path]
    extracted: Positional[Path]
    vocabulary: Positional[Path]
    id: str = ""
    reverse: bool = False
    json: bool = False

    def run(self) -> None:
        """Print the tasks."""
        from polyvoice.bundle.vocabulary import find_vocabulary
        from polyvoice.corpus.manifest import read_manifest
        from polyvoice.spoken import load_pairs, reverse
        from polyvoice.stages.translate.showing import show_pair

        vocabulary = find_vocabulary(self.vocabulary)
        row = next((row for row in read_manifest(self.manifest) if self.id in ("", row.id)), None)
        if row is None:
            raise InputError(f"{self.manifest}: no pair has the id {self.id!r}")
        pairs = load_pairs(self.manifest, self.extracted, row.split, with_codes=False)
        pair = next((pair for pair in pairs if pair.id == row.id), None)
        if pair is None:
            raise InputError(f"{self.manifest}: the audio of pair {row.id!r} could not be extracted")
        shown = show_pair(reverse(pair) if self.reverse else pair, vocabulary)
        if self.json:
            print(json.dumps({"id": pair.id, "tasks": [asdict(task) for task in shown]}, ensure_ascii=False))
            return
        for task in shown:
            print(task.line, f"    {task}", sep="\n")
