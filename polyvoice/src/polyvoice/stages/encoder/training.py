"""`train_encoder`: masked prediction of frame labels, on one device, that resumes exactly.

The run folder: run.json (what was asked for), metrics.jsonl, tensorboard/, checkpoints/ (to go on from), and in the end
hubert.pt, the encoder itself, with encoder.json, which says what it is and how well it learned.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from polyvoice.errors import InputError
from polyvoice.stages.encoder.data import (
    BatchMaker,
    BatchPlan,
    CropBatch,
    LabelSet,
    build_batch,
    read_labels,
    training_batches,
)
from polyvoice.stages.encoder.diary import Diary, Evaluation, StepReport
from polyvoice.stages.encoder.model import Prediction, build_hubert, draw_mask, predict_labels, write_hubert
from polyvoice.stages.encoder.settings import Augmentation, EncoderSettings
from speechunits.encoders.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ
from unitlm.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from unitlm.data import read_ahead
from unitlm.distributed import join_processes
from unitlm.ema import WeightAverage
from unitlm.errors import DivergedError
from unitlm.files import Json, write_json
from unitlm.optimizer import Optimizers
from unitlm.precision import choose_precision
from unitlm.run_folder import (
    StopRequest,
    checkpoint_folder,
    find_checkpoints,
    lock_run,
    prune_checkpoints,
    record_run,
    watch_for_stop,
)
from unitlm.schedule import learning_rate_factor

if TYPE_CHECKING:
    from fairseq.models.hubert import HubertModel

RESULT = "hubert.pt"
CARD = "encoder.json"

_FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP_SAMPLES
_KIND = "hubert"
_KEPT_CHECKPOINTS = 2
_SKIPPED_IN_A_ROW = 5  # steps without a finite gradient, after which a run has failed
# What may change when a run is continued, because the result does not depend on it.
_FREE = frozenset({"device", "readers", "checkpoint_minutes", "log_every", "evaluate_every"})
_UNCHANGED = Augmentation(resample_probability=0.0, equalizer_db=0.0, noise_probability=0.0, mix_probability=0.0)


@dataclass(frozen=True)
class EncoderResult:
    """How a run ended.

    Attributes:
        checkpoint: the encoder, for `load_fairseq_hubert`; None when the run was told to stop and can be continued.
        step: the last step taken.
        parameters: how many the model has.
        held_out: the last evaluation; None without held-out utterances.
    """

    checkpoint: Path | None
    step: int
    parameters: int
    held_out: Evaluation | None


def train_encoder(settings: EncoderSettings) -> EncoderResult:
    """Train a small HuBERT to name the labels of frames; the same call continues a run exactly.

    The labels come from `speechunits extract` with any encoder, for example: MFCC (HuBERT's first iteration), a
    teacher such as a layer of Whisper or of a published HuBERT, or `hubert.pt` of the last round (its second one).
    SIGTERM saves and leaves.

    Args:
        settings: everything; only the device and how often it reports or saves may change when a run is continued.

    Returns:
        How it ended; the encoder lies at `settings.out / "hubert.pt"`.

    Raises:
        InputError: labels and audio do not fit, the folder holds another run, or is in use.
        speechunits.errors.InputError: labels or an audio file cannot be read.
        unitlm.errors.InputError: the run folder is damaged, or there is no such device.
        DivergedError: the loss or the gradient was not finite five times in a row; such steps change no weight.
    """
    course, out = settings.course, settings.out
    data = read_labels(settings.labels, settings.audio_folder, course.held_out_share)
    with join_processes(course.device) as processes, lock_run(out, processes), watch_for_stop() as stop:
        if processes.count > 1:
            raise InputError("an encoder is trained by one process")
        record_run(out, _describe(settings, data), _FREE, processes)
        with torch.random.fork_rng(devices=[processes.device] if processes.device.type == "cuda" else []):
            trainer = _Trainer(settings, data, processes.device)
            if found := find_checkpoints(out):
                trainer.restore(found[-1])
            held_out = _run(trainer, settings, data, stop)
            finished = trainer.step == course.steps
            if finished:
                trainer.export(out, held_out)
    return EncoderResult(out / RESULT if finished else None, trainer.step, trainer.parameters, held_out)


def _run(trainer: _Trainer, settings: EncoderSettings, data: LabelSet, stop: StopRequest) -> Evaluation | None:
    """Take the steps that are left; evaluate, report and save as told."""
    course, out = settings.course, settings.out
    longest = max(1, round(course.longest_crop_s * _FRAME_RATE_HZ))
    plan = BatchPlan([min(longest, item.frames) for item in data.train], course.batch_frames, course.seed)
    steps = range(trainer.step + 1, course.steps + 1)
    make = BatchMaker(data.train, plan, settings.augmentation, longest, course.seed)
    batches = read_ahead(training_batches(make, steps, course.readers))
    held_out: Evaluation | None = None
    saved = time.monotonic()
    with Diary(out, course.steps, trainer.step) as diary:
        for step in steps:
            report = trainer.update(next(batches))
            last, stopped = step == course.steps, stop.received
            diary.stepped(step, report, write=last or step % course.log_every == 0)
            if data.held_out and (last or step % course.evaluate_every == 0):
                held_out = trainer.evaluate()
                diary.evaluated(step, held_out)
            if last or stopped or time.monotonic() - saved >= 60.0 * course.checkpoint_minutes:
                trainer.save(out)
                saved = time.monotonic()
            if stopped:
                return held_out
    if held_out is None and data.held_out:  # the run was finished already
        held_out = trainer.evaluate()
    return held_out


class _Trainer:
    """All that changes from step to step."""

    def __init__(self, settings: EncoderSettings, data: LabelSet, device: torch.device) -> None:
        self._settings, self._data, self._device = settings, data, device
        course = settings.course
        torch.manual_seed(course.seed)
        self._model: HubertModel = build_hubert(settings.shape, settings.masking, data.clusters).to(device)
        self._weights: dict[str, nn.Parameter] = dict(self._model.named_parameters())
        self._optimizers = Optimizers(
            self._weights, "adamw", weight_decay=course.weight_decay, betas=(0.9, 0.98), device=device
        )
        self._average = WeightAverage(self._weights, course.average_decay) if course.average_decay else None
        self.step = self._skipped = 0
        self.parameters = sum(weight.numel() for weight in self._weights.values())

    def update(self, batch: CropBatch) -> StepReport:
        """Take one step."""
        self.step += 1
        course = self._settings.course
        factor = learning_rate_factor(
            self.step,
            schedule="wsd",
            steps=course.steps,
            warmup_steps=course.warmup_steps,
            decay_steps=course.falling_steps,
            final_factor=0.02,
        )
        self._model.train()
        prediction = self._predict(batch, np.random.default_rng([course.seed, self.step, 2]), self.step)
        prediction.loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._weights.values(), course.clip_norm).item()
        loss = prediction.loss.item()
        if math.isfinite(loss) and math.isfinite(norm):
            self._skipped = 0
            self._optimizers.step(course.learning_rate * factor)
            if self._average is not None:
                self._average.update(self.step)
        else:
            self._skip(loss, norm)
        return StepReport(
            loss,
            masked_accuracy=int(prediction.masked_correct) / max(1, prediction.masked),
            heard_accuracy=int(prediction.heard_correct) / max(1, prediction.heard),
            gradient_norm=norm,
            learning_rate=course.learning_rate * factor,
            sound_s=batch.sound.size / SAMPLE_RATE_HZ,
        )

    def _skip(self, loss: float, norm: float) -> None:
        """Leave the weights as they are: one batch in thousands can have a gradient that is not a number."""
        self._skipped += 1
        if self._skipped >= _SKIPPED_IN_A_ROW:
            raise DivergedError(f"step {self.step}: loss {loss}, gradient norm {norm}, and so {self._skipped} times")
        for weight in self._weights.values():
            weight.grad = None

    @torch.no_grad()
    def evaluate(self) -> Evaluation:
        """Predict the labels of all held-out utterances from unchanged sound, under masks that are always the same."""
        self._model.eval()
        course = self._settings.course
        longest = max(1, round(course.longest_crop_s * _FRAME_RATE_HZ))
        utterances = self._data.held_out
        plan = BatchPlan([min(longest, item.frames) for item in utterances], course.batch_frames, 0)
        weight, loss, counts = 0.0, 0.0, np.zeros(4, dtype=np.int64)
        with self._average.in_place_of_weights() if self._average is not None else nullcontext():
            for number in range(1, plan.batches_per_epoch + 1):
                generator = np.random.default_rng([0, number])
                chosen = [utterances[position] for position in plan.batch(number)]
                batch = build_batch(chosen, _UNCHANGED, longest, generator)
                found = self._predict(batch, generator, number)
                weight, loss = weight + found.weight, loss + found.loss.item() * found.weight
                counts += (found.masked, int(found.masked_correct), found.heard, int(found.heard_correct))
        masked, masked_correct, heard, heard_correct = counts.tolist()
        return Evaluation(loss / max(weight, 1.0), masked_correct / max(1, masked), heard_correct / max(1, heard))

    def save(self, run_folder: Path) -> None:
        """Write a checkpoint of the present step."""
        parts: dict[str, Mapping[str, Tensor]] = {"model": self._weights, "optimizer": self._optimizers.tensors()}
        if self._average is not None:
            parts["average"] = self._average.tensors
        config = cast("Mapping[str, Json]", asdict(self._settings.shape))
        write_checkpoint(
            checkpoint_folder(run_folder, self.step), Checkpoint(_KIND, config, {"step": self.step}, parts)
        )
        prune_checkpoints(run_folder, _KEPT_CHECKPOINTS)

    @torch.no_grad()
    def restore(self, folder: Path) -> None:
        """Take over a checkpoint's state."""
        checkpoint = read_checkpoint(folder, kind=_KIND)
        for name, weight in self._weights.items():
            weight.copy_(checkpoint.parts["model"][name])
            if self._average is not None:
                self._average.tensors[name].copy_(checkpoint.parts["average"][name])
        self._optimizers.load_tensors(checkpoint.parts["optimizer"], str(folder))
        self.step = cast("int", checkpoint.metadata["step"])

    def export(self, run_folder: Path, held_out: Evaluation | None) -> None:
        """Write the encoder, of averaged weights where there are such, and what it is."""
        settings = self._settings
        with self._average.in_place_of_weights() if self._average is not None else nullcontext():
            write_hubert(
                run_folder / RESULT, self._model, settings.shape, settings.masking, self._data.clusters, self.step
            )
        card: dict[str, Json] = {
            "parameters": self.parameters,
            "step": self.step,
            "trained_s": round(sum(item.frames for item in self._data.train) / _FRAME_RATE_HZ),
            "labels": self._data.digest,
            "clusters": list(self._data.clusters),
            "held_out": None if held_out is None else cast("Json", asdict(held_out)),
        }
        write_json(run_folder / CARD, card)

    def _predict(self, batch: CropBatch, generator: np.random.Generator, number: int) -> Prediction:
        """Run the model with chance that depends on the seed and `number` alone."""
        settings = self._settings
        torch.manual_seed(int(np.random.SeedSequence([settings.course.seed, number]).generate_state(1)[0]))
        _, rows, frames = batch.labels.shape
        mask = torch.from_numpy(draw_mask(rows, frames, settings.masking, generator)).to(self._device)
        sound = torch.from_numpy(batch.sound).to(self._device)
        labels = torch.from_numpy(batch.labels).to(self._device)
        bf16 = choose_precision(settings.course.precision, self._device.type) == "bf16"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16):
            return predict_labels(self._model, sound, labels, mask, settings.masking)


def _describe(settings: EncoderSettings, data: LabelSet) -> dict[str, dict[str, Json]]:
    """What the run is, for `run.json`."""
    groups = {
        "shape": asdict(settings.shape),
        "masking": asdict(settings.masking),
        "augmentation": asdict(settings.augmentation),
        "course": asdict(settings.course),
        "data": {"labels": data.digest, "train": len(data.train), "held_out": len(data.held_out)},
    }
    described: dict[str, dict[str, Json]] = json.loads(json.dumps(groups))  # as it is read back: no tuples
    return described
