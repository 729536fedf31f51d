"""What a training run leaves and shows: run.json, metrics.jsonl and a progress line on stderr."""

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from speechunits.codecs.speech_codec.data import CodecData
from speechunits.codecs.speech_codec.settings import CodecSettings, CodecTraining
from speechunits.errors import InputError
from speechunits.files import write_atomically

Figure: TypeAlias = float | str | list[float]

# These may change when a run is continued. Longer last stages are wanted when a codec is better than its plan.
# Who listens is known by what it is, not by where it lies.
_LISTENERS = frozenset({"listener", "speaker_encoder"})
_FREE = _LISTENERS | {"decoder_steps", "device", "readers", "log_every", "evaluate_every", "checkpoint_minutes"}


def record_run(out: Path, settings: CodecTraining, data: CodecData, heard_by: Mapping[str, str]) -> None:
    """Write what the run is, or check that it is the one that was begun here.

    Args:
        out: the run's folder.
        settings: how it trains.
        data: what on.
        heard_by: the identities of the encoders that listen, by the key that each has in the file.

    Raises:
        InputError: the folder holds a run with other settings, another list, other units or other listeners.
    """
    path = out / "run.json"
    digests = {"list": data.digest, "units_of_list": data.units_digest, **heard_by}
    wanted = {**digests, "settings": asdict(settings)}
    if not path.exists():
        versions = {name: version(name) for name in ("speechunits", "torch", "numpy")}
        record = {**wanted, "versions": {"python": platform.python_version(), **versions}}
        write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())
        return
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
        # A setting that there was not yet had its default.
        before = {
            "units_of_list": "",
            **dict.fromkeys(heard_by, ""),
            **begun,
            **asdict(CodecTraining()),
            **begun["settings"],
        }
        before["codec"] = {**asdict(CodecSettings()), **begun["settings"]["codec"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not describe a training run of a codec") from error
    for key, value in {**digests, **asdict(settings)}.items():
        if key not in _FREE and before.get(key) != value:
            raise InputError(f"{path}: the run here was begun with {key} = {before.get(key)!r}, not {value!r}")


class Diary:
    """Appends to `metrics.jsonl`, one JSON object a line, and shows progress."""

    def __init__(self, out: Path, step: int, steps: int) -> None:
        """Continue a run.

        Args:
            out: the run's folder.
            step: the step it goes on from; what was reported of later ones is of work that was lost, and goes.
            steps: of the whole run.
        """
        path = out / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_atomically(path, "".join(kept).encode())
        self._stream = path.open("a", encoding="utf-8")
        self._progress = Progress(
            TextColumn("train codec"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=steps, completed=step)
        self._audio_s, self._since = 0.0, time.monotonic()

    def __enter__(self) -> "Diary":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._stream.close()

    def advance(self, step: int, audio_s: float) -> None:
        """Show that a step on `audio_s` seconds of sound is done."""
        self._audio_s += audio_s
        self._progress.update(self._task, completed=step)

    def report(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        """Write down and show the figures of a step, with the speed since the last report."""
        now = time.monotonic()
        speed = self._audio_s / (now - self._since)
        self._audio_s, self._since = 0.0, now
        self.write(step, {"stage": stage, **values, "audio_s_per_s": round(speed, 2)})
        self._progress.update(self._task, description=f"{stage}: mel {values['mel']:.3f}, {speed:.0f} s of sound/s")

    def write(self, step: int, values: Mapping[str, Figure]) -> None:
        """Write figures down."""
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        self._stream.flush()
