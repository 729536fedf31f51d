"""`speechunits report`: how good units are."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from speechunits.errors import InputError

if TYPE_CHECKING:
    from speechunits.report import UnitReport


@dataclass(frozen=True, slots=True)
class Report:
    """Measure extracted units: do they keep to what is said, whoever says it?

    Attributes:
        folder: What `speechunits extract` wrote.
        table: Its list, with columns audio, sentence (any name of what is said) and speaker.
        seed: Of the choice of pairs and of the shuffles.
        json: Print one JSON object.
    """

    folder: Annotated[Positional[Path], arg(metavar="DIR")]
    table: Annotated[Positional[Path], arg(metavar="LIST.tsv")]
    seed: int = 0
    json: bool = False

    def run(self) -> None:
        """Print the figures."""
        from speechunits.extracted import read_extracted
        from speechunits.listing import read_spoken
        from speechunits.report import report_units

        spoken = read_spoken(self.table)
        info, utterances = read_extracted(self.folder)
        if info.units is None:
            raise InputError(f"{self.folder}: holds codes only, no units")
        report = report_units(utterances, spoken, info.units.clusters, seed=self.seed)
        if self.json:
            # JSON has no NaN.
            figures = {name: None if math.isnan(value) else value for name, value in asdict(report).items()}
            print(json.dumps({"encoder": info.units.encoder, "kmeans": info.units.kmeans, **figures}))
        else:
            print("\n".join(f"{name:<42}{value}" for name, value in _rows(report)))


def _rows(report: UnitReport) -> list[tuple[str, str]]:
    within, between = report.same_sentence_pairs, report.same_speaker_pairs
    return [
        ("utterances", f"{report.utterances}"),
        ("edit distance, one sentence, two speakers", f"{report.same_sentence:.3f} ({within} pairs)"),
        ("edit distance, one speaker, two sentences", f"{report.same_speaker:.3f} ({between} pairs)"),
        ("units a second, without repeats", f"{report.units_per_second:.1f}"),
        ("perplexity", f"{report.perplexity:.1f} of {report.clusters} ({report.used} used)"),
        ("unit tells speaker", f"{report.speaker_bits:.3f} of {report.most_bits:.3f} bits"),
    ]
