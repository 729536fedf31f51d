"""The command line of polyvoice: each command parses its options and makes one library call."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from polyvoice.errors import InputError
from speechunits.errors import InputError as SpeechUnitsInputError
from unitlm.errors import InputError as UnitLMInputError

if TYPE_CHECKING:
    from polyvoice.units import UtteranceUnits
    from speechunits.encoders.hubert import HubertEncoder


@dataclass(frozen=True, kw_only=True)
class _EncoderOptions:
    audio: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Audio files, of any rate, channels and format that libsndfile reads."""
    encoder: Path
    """fairseq HuBERT checkpoint; nothing in it is executed."""
    layer: int
    """Transformer layer whose features are used, counted from 1."""
    device: str = "cpu"
    """torch device."""
    json: bool = False
    """Print one JSON object."""

    def load_encoder(self) -> "HubertEncoder":
        """Load the encoder, after the cheap checks."""
        from speechunits.encoders.hubert import load_fairseq_hubert

        if not self.audio:
            raise InputError("no audio file is given")
        return load_fairseq_hubert(self.encoder, self.layer, device=self.device)


@dataclass(frozen=True, kw_only=True)
class UnitsCommand(_EncoderOptions):
    """Turn speech into units: one line a file, its name and unit:frames pairs."""

    kmeans: Path
    """Centroids: a file that `polyvoice kmeans` wrote, or a published fairseq km.bin."""
    show: bool = False
    """Also print the tokens with which the translation of these units begins."""
    source: Annotated[str, tyro.conf.arg(name="from")] = "zh"
    """Language of the speech, for --show."""
    target: Annotated[str, tyro.conf.arg(name="to")] = "en"
    """Language to translate into, for --show."""

    def run(self) -> None:
        """Print the units of each file."""
        from polyvoice.units import extract_units, load_centroids

        kmeans = load_centroids(self.kmeans)
        encoder = self.load_encoder()
        clusters = len(kmeans.centroids)
        files = [self._describe(utterance, clusters) for utterance in extract_units(self.audio, encoder, kmeans)]
        if self.json:
            header = {"encoder": encoder.identity, "frame_rate_hz": encoder.frame_rate_hz, "clusters": clusters}
            print(json.dumps({**header, "files": files}))
            return
        for file in files:
            pairs = zip(file["units"], file["lengths"], strict=True)
            print(file["audio"], " ".join(f"{unit}:{frames}" for unit, frames in pairs), sep="\t")
            if self.show:
                print("", " ".join(file["tokens"]), sep="\t")

    def _describe(self, utterance: "UtteranceUnits", clusters: int) -> dict[str, Any]:
        units = utterance.runs.units.tolist()
        lengths = utterance.runs.lengths.tolist()
        entry = {
            "audio": str(utterance.audio),
            "duration_s": round(utterance.duration_s, 4),
            "units": units,
            "lengths": lengths,
        }
        if self.show:
            from polyvoice.tasks import AlphabetSizes, build_vocabulary, translate_speech

            vocabulary = build_vocabulary(self.source, self.target, AlphabetSizes(source_units=clusters))
            prompt = translate_speech(self.source, self.target).prompt({"src": units}, vocabulary)
            entry["tokens"] = [vocabulary.describe(token) for token in prompt.ids]
        return entry


@dataclass(frozen=True, kw_only=True)
class KMeansCommand(_EncoderOptions):
    """Define units: cluster the features of audio files and write the centroids."""

    out: Path
    """The safetensors file to write."""
    clusters: int = 100
    """How many units."""
    share: float = 1.0
    """Part of the frames that is clustered, drawn at random; an hour of features takes 0.5 GB at 768 dimensions."""
    seed: int = 0
    """The same seed gives the same units."""

    def run(self) -> None:
        """Write the centroids and say what they are."""
        from polyvoice.units import fit_units
        from speechunits.kmeans import save_kmeans

        # Asked first: otherwise a slip in the path would come to light after hours of encoding.
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: the folder {self.out.parent} does not exist")
        encoder = self.load_encoder()
        kmeans = fit_units(self.audio, encoder, self.clusters, seed=self.seed, share=self.share)
        save_kmeans(kmeans, self.out)
        clusters, dimension = kmeans.centroids.shape
        frames = kmeans.provenance.frames
        if self.json:
            shape = {"clusters": clusters, "dimension": dimension, "frames": frames}
            print(json.dumps({"kmeans": str(self.out), **shape, "encoder": encoder.identity, "seed": self.seed}))
        else:
            print(f"{self.out}: {clusters} units from {frames} frames of {encoder.identity}")


Command = (
    Annotated[UnitsCommand, tyro.conf.subcommand("units")] | Annotated[KMeansCommand, tyro.conf.subcommand("kmeans")]
)


def main() -> int:
    """Run the command line.

    Returns:
        The exit status: 0 done, 2 bad input. What is our own fault ends in a traceback and status 1.
    """
    command: UnitsCommand | KMeansCommand = tyro.cli(
        Command,
        prog="polyvoice",
        description="Speech-to-speech translation with language models over discrete speech units.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        command.run()
    except (InputError, SpeechUnitsInputError, UnitLMInputError) as error:
        print(f"polyvoice: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
