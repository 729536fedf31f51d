"""`polyvoice corpus mix-voices`: more voices to speak with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class MixVoices:
    """Mix voices for `speak`: each new one is between two of Kokoro's that train, and nobody's who tests.

    Speak with them by --voice-files OUT; copy Kokoro's own beside them to speak with both, and test texts too.
    """

    voice_files: Annotated[Path, Positional]
    """Folder of Kokoro's voices, NAME.bin."""
    out: Path
    """Folder to write the new voices to; may be the same."""
    count: int = 100
    """How many new voices."""
    seed: int = 0
    """Another seed, other mixtures."""

    def run(self) -> None:
        """Mix, and say how many there are."""
        from polyvoice.corpus.speak.mixing import mix_voices

        names = mix_voices(self.voice_files, self.out, self.count, self.seed)
        print(f"{self.out}: {len(names):,} voices, such as {names[0]}")
