"""`molregpt relevance`: learn which neighbours have the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.relevance.settings import RelevanceSettings


@dataclass(frozen=True, slots=True)
class Relevance:
    """Learn to sort neighbours by how much of the right answer theirs holds, as the strategy `learned` does.

    It makes what ships with the package, in assets/relevance.safetensors; a copy of the package may hold another.

    Attributes:
        out: File to write.
        pairs: Tables of pairs (CID, SMILES, description) that ask, and are the pool; give the option again for more.
        held_out: Table of pairs that only measure what was gained.
        names: Table with columns SMILES and name: systematic names; the others are made on the way.
        settings: How it is learned.
    """

    out: Positional[Path]
    pairs: tuple[Path, ...]
    held_out: Path
    names: Path | None = None
    settings: Annotated[RelevanceSettings, arg(name="")] = field(default_factory=RelevanceSettings)

    def run(self) -> None:
        """Learn, write the file, and print what was gained."""
        from molregpt.data.table import read_names, read_pairs
        from molregpt.database import Database, join_tables
        from molregpt.files import make_folder
        from molregpt.naming import Namer
        from molregpt.retrieval.learning import learn_relevance

        make_folder(self.out.parent)  # before minutes of learning
        pairs = join_tables([(table.name, read_pairs(table)) for table in self.pairs])
        held_out = read_pairs(self.held_out)
        namer = Namer(read_names(self.names) if self.names else {})
        relevance, gains = learn_relevance(pairs, held_out, Database(pairs), namer, self.settings)
        namer.close()
        relevance.save(self.out)
        for direction, gain in gains.items():
            print(
                f"{direction}: overlap of the nearest {gain.nearest:.4f}, of the chosen {gain.chosen:.4f}, of the best "
                f"{gain.best_possible:.4f}; {gain.pairs} pairs"
            )
