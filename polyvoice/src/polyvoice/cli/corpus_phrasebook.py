"""`polyvoice corpus phrasebook`: sentences in three languages to be spoken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Phrasebook:
    """Write phrases of everyday life in Chinese, English and Spanish as a table, for `polyvoice corpus speak`."""

    out: Path
    """The table to write: key, split, template, unseen_pair, zh, en, es."""
    pairs: bool = False
    """Write a pair manifest of texts instead, English with each other language: to be merged with that of speech, so
    that the translation model reads more phrases than anybody has spoken."""
    count: int = 10_000
    """How many phrases."""
    domains: tuple[str, ...] = ()
    """Phrases of these only, such as `travel`; of all sixteen by default."""
    seed: int = 0
    """For the choice of phrases; the split of a phrase does not depend on it."""

    def run(self) -> None:
        """Draw, write, and say how many."""
        from polyvoice.corpus.manifest import write_manifest
        from polyvoice.corpus.phrasebook.sampling import phrases
        from polyvoice.corpus.phrasebook.text_pairs import text_pairs
        from polyvoice.corpus.splits import describe_splits
        from speechunits.files import write_atomically

        drawn = phrases(self.seed, self.count, domains=self.domains)
        if self.pairs:
            write_manifest(self.out, text_pairs(drawn))
        else:
            lines = ["key\tsplit\ttemplate\tunseen_pair\tzh\ten\tes"]
            for phrase in drawn:
                cells = (phrase.key, phrase.split, phrase.template, str(int(phrase.unseen_pair)))
                lines.append("\t".join((*cells, phrase.zh, phrase.en, phrase.es)))
            write_atomically(self.out, "".join(f"{line}\n" for line in lines).encode())
        splits = describe_splits(phrase.split for phrase in drawn)
        print(f"{self.out}: {len(drawn):,} phrases ({splits})")
