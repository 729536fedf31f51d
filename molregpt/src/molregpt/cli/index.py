"""`molregpt index`: build the indexes of a pool ahead of time, or show what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg, subcommand

from molindex.engine import EngineOptions


@dataclass(frozen=True, slots=True)
class Build:
    """Build every index of a pool now, so that no later command has to.

    Attributes:
        pool: Tables (CID, SMILES, description); give the option again for more. The shipped pool by default.
        engine: Where fingerprints are computed.
    """

    pool: tuple[Path, ...] = ()
    engine: Annotated[EngineOptions, arg(name="")] = field(default_factory=EngineOptions)


@dataclass(frozen=True, slots=True)
class Show:
    """Show which pools and indexes are kept, where, and how large they are.

    Attributes:
        json: Print one JSON object instead of a table.
    """

    json: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """Build or show the search indexes that are kept in the cache.

    Attributes:
        action: What to do.
    """

    action: Annotated[
        Annotated[Build, subcommand("build")] | Annotated[Show, subcommand("show")],
        arg(name=""),
    ]

    def run(self) -> None:
        """Do what was asked."""
        from molregpt.cli.output import print_indexes
        from molregpt.database import cache_folder, list_indexes
        from molregpt.retrieval.indexes import build_indexes

        if isinstance(self.action, Build):
            with self.action.engine.open() as engine:
                build_indexes(self.action.pool, engine)
            print_indexes(cache_folder(), list_indexes(), as_json=False)
        else:
            print_indexes(cache_folder(), list_indexes(), as_json=self.action.json)
