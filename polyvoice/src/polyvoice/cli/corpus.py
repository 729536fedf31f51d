"""`polyvoice corpus`: make and bring in parallel speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg, subcommand

from polyvoice.cli.corpus_asterisk import Asterisk
from polyvoice.cli.corpus_cut import Cut
from polyvoice.cli.corpus_gettext import Gettext
from polyvoice.cli.corpus_importers import Covost2, Cvss, Fleurs, Gigas2s
from polyvoice.cli.corpus_join import Join
from polyvoice.cli.corpus_manifests import Augment, Merge, Recordings, Voices
from polyvoice.cli.corpus_mix_voices import MixVoices
from polyvoice.cli.corpus_phrasebook import Phrasebook
from polyvoice.cli.corpus_speak import Speak
from polyvoice.cli.corpus_tatoeba import Tatoeba


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Make and bring in parallel speech; actions write pair manifests, texts to be spoken, and lists."""

    action: Annotated[
        Annotated[Speak, subcommand("speak")]
        | Annotated[MixVoices, subcommand("mix-voices")]
        | Annotated[Phrasebook, subcommand("phrasebook")]
        | Annotated[Tatoeba, subcommand("tatoeba")]
        | Annotated[Gettext, subcommand("gettext")]
        | Annotated[Asterisk, subcommand("asterisk")]
        | Annotated[Cvss, subcommand("cvss")]
        | Annotated[Covost2, subcommand("covost2")]
        | Annotated[Fleurs, subcommand("fleurs")]
        | Annotated[Gigas2s, subcommand("gigas2s")]
        | Annotated[Augment, subcommand("augment")]
        | Annotated[Voices, subcommand("voices")]
        | Annotated[Cut, subcommand("cut")]
        | Annotated[Join, subcommand("join")]
        | Annotated[Merge, subcommand("merge")]
        | Annotated[Recordings, subcommand("recordings")],
        arg(name=""),
    ]
    """What to do."""

    def run(self) -> None:
        """Do what was asked, and say what was written."""
        self.action.run()
