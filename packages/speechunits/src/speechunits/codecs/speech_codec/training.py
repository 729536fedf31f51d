"""Training a codec: the loop, a step of it, and the evaluation in between."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from speechunits.audio import Waveform
from speechunits.codecs.protocol import Codes, SoftCodes, SpokenBy
from speechunits.codecs.speech_codec.codec import SpeechCodec
from speechunits.codecs.speech_codec.data import Batch, CodecData, Crops, read_codec_data, read_held_out
from speechunits.codecs.speech_codec.diary import Diary, Figure, record_run
from speechunits.codecs.speech_codec.discriminator import Discriminators
from speechunits.codecs.speech_codec.listeners import Listeners
from speechunits.codecs.speech_codec.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    mel_distance,
    mel_loss,
)
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.quantizer import covariance_penalty, draw_levels, perplexities
from speechunits.codecs.speech_codec.settings import CodecTraining, Stage
from speechunits.codecs.speech_codec.source import NOISE_SAMPLES, pitch_loss
from speechunits.codecs.speech_codec.state import TrainingState, read_step
from speechunits.codecs.speech_codec.storage import read_codec, round_as_stored, write_codec
from speechunits.codecs.speech_codec.telling import tell
from speechunits.devices import require_device
from speechunits.errors import DivergedError, InputError
from speechunits.precision import has_bf16

_CLIP_NORM = 5.0
_LAST_RATE = 0.02


def train_speech_codec(settings: CodecTraining, list_path: Path, out: Path) -> Path:
    """Train a codec, or go on with a run that was interrupted; the result is the same.

    Args:
        settings: how.
        list_path: what on; see `data.read_codec_data`.
        out: the run's folder: `run.json`, `metrics.jsonl`, `state.safetensors` (renewed every few minutes) and
            `codec/`, which appears when the codes are final and is renewed with every evaluation from then on.

    Returns:
        The folder of the codec, for `load_speech_codec`.

    Raises:
        InputError: the list, a file of it or the codec to go on from cannot be used, or `out` holds another run or is
            in use; who listens cannot be loaded, or SwiftF0 is not installed, from which a source is learned.
        DivergedError: the loss is not finite; the state on disk is from before that.
    """
    base = read_codec(Path(settings.base)) if settings.base else None
    if base is not None:
        settings = replace(settings, codec=base.settings)
    _choose_device(settings)  # before anything is written
    data = read_codec_data(list_path, settings)
    if base is not None:
        settings = _going_on_from(base, settings, data)
    if data.without_units:
        without = f"{data.without_units} recordings of {list_path} have no units in {settings.units}: left out"
        print(without, file=sys.stderr)
    listeners = Listeners.load(settings, str(_choose_device(settings)))
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{out}: another process is training here") from error
    with held:  # `with lock` would take it a second time, and give it back once
        record_run(out, settings, data, listeners.identities)
        _Run(settings, data, out, base, listeners).go_on()
    return out / "codec"


def _going_on_from(base: CodecModel, settings: CodecTraining, data: CodecData) -> CodecTraining:
    """The settings of a run whose decoder goes on from a base's, which may have learned to be told units."""
    if base.told not in (None, data.told):
        given = "none are given" if data.told is None else f"{settings.units} has {data.told}"
        raise InputError(f"{settings.base}: its decoder is told units, {base.told}, and {given}")
    shape = base.settings
    if base.told is None and data.told is not None:
        shape = shape.guided_by(data.told.clusters)
    if settings.source:
        shape = shape.with_source()
    nothing_to_learn = shape == base.settings and bool(settings.units or settings.source)
    return replace(settings, codec=shape, guide_steps=0 if nothing_to_learn else settings.guide_steps)


class _Run:
    """A run in its folder: what happens when."""

    def __init__(
        self,
        settings: CodecTraining,
        data: CodecData,
        out: Path,
        base: CodecModel | None,
        listeners: Listeners,
    ) -> None:
        self._settings, self._out, self._listeners = settings, out, listeners
        self._crops = Crops(data.train, settings)
        self._held_out = read_held_out(data.held_out, settings.codec.sample_rate_hz)
        self._held_out_clips = data.held_out
        self._stages = {
            stage.first_step + offset: stage for stage in settings.stages() for offset in range(stage.steps)
        }
        self._device = _choose_device(settings)
        self._state = TrainingState(settings, self._device, data.told)
        if base is not None:
            # A decoder that has been told nothing lacks a guide, and a fresh one changes nothing. What filters a source
            # is another layer than the end of a decoder without one.
            lacks = [] if base.told else ["decoder.guide."]
            if settings.codec.decoder_source and not base.settings.decoder_source:
                lacks += ["decoder.source.", "decoder.end."]
            first, known = self._state.model.state_dict(), base.state_dict()
            fresh = {name: value for name, value in first.items() if name.startswith(tuple(lacks))}
            kept = {name: value for name, value in known.items() if not name.startswith(tuple(lacks))}
            self._state.model.load_state_dict(fresh | kept)
        self._state_path = out / "state.safetensors"

    def go_on(self) -> None:
        """Take all steps that are left, and write the codec."""
        settings = self._settings
        done = self._restore()
        trainer = Trainer(settings, self._state, self._device, self._listeners)
        with Diary(self._out, done, settings.steps) as diary:
            saved_at = time.monotonic()
            for step, stage, batch in self._crops.batches(self._stages, done + 1):
                if step == stage.first_step:
                    self._state.enter(stage)
                if step == settings.unquantized_steps + 1 and not settings.base:
                    trainer.make_codebooks(self._crops, stage)
                figures = trainer.update(step, stage, batch.to(self._device))
                last = step == settings.steps
                diary.advance(step, batch.samples.numel() / settings.codec.sample_rate_hz)
                if step % settings.log_every == 0 or last:
                    diary.report(step, stage.name, {name: float(value) for name, value in figures.items()})
                looked_at = (step % settings.evaluate_every == 0 and step > settings.unquantized) or last
                written = last or time.monotonic() - saved_at >= 60.0 * settings.checkpoint_minutes
                if looked_at or written:
                    _require_finite(figures, step)  # before the good codec is replaced
                if looked_at:
                    diary.write(step, self._evaluate(stage))
                if written:
                    self._state.write(self._state_path, step)
                    saved_at = time.monotonic()
        write_codec(self._out / "codec", self._codec())

    def _restore(self) -> int:
        """Take over the folder's state, if any; say after which step it was written."""
        if not self._state_path.exists():
            return 0
        step = read_step(self._state_path)
        if step not in self._stages:
            raise InputError(f"{self._out}: the run here has taken {step} steps, {len(self._stages)} are asked for")
        self._state.enter(self._stages[step])
        self._state.read(self._state_path)
        return step

    def _codec(self) -> CodecModel:
        """The codec as it would be stored now, with the averaged decoder where there is one."""
        return round_as_stored(self._state.model, self._state.average)

    def _evaluate(self, stage: Stage) -> dict[str, Figure]:
        """Figures on the held-out clips; renews the stored codec where its codes are final."""
        model = self._codec()
        if stage.codes_are_final:
            write_codec(self._out / "codec", model)
        codec = SpeechCodec(model)
        codes = codec.encode_batch(self._held_out)
        values: dict[str, Figure] = {}
        few = {1} if codec.told is not None else set()
        for levels in sorted({codec.levels, (codec.levels + 1) // 2} | few):
            decoded = codec.decode_batch([item[:levels] for item in codes])
            values[f"held_out_mel_distance_{levels}"] = self._distance(decoded)
        if codec.told is not None:
            told = [
                codec.decode_told(SoftCodes.certain(item[:1]), self._spoken_by(row, codes))
                for row, item in enumerate(codes)
            ]
            values["held_out_mel_distance_1_told"] = self._distance(told)
        frames = torch.from_numpy(np.concatenate(codes, axis=1))
        values["held_out_perplexities"] = perplexities(frames, codec.codebook_size)
        return values

    def _spoken_by(self, row: int, codes: Sequence[Codes]) -> SpokenBy:
        """What is told of a held-out clip, with the voice of another one of the same speaker where there is one."""
        clips, units = self._held_out_clips, self._held_out_clips[row].units
        same = [n for n, clip in enumerate(clips) if n != row and clip.voice == clips[row].voice]
        frames = codes[row].shape[1]
        return SpokenBy(np.empty(0, np.int64) if units is None else units[:frames], codes[same[0] if same else row])

    def _distance(self, decoded: Sequence[Waveform]) -> float:
        """Mean distance of decoded clips to the held-out ones."""
        rate_hz = self._settings.codec.sample_rate_hz
        return float(
            np.mean(
                [
                    mel_distance(torch.from_numpy(got.samples), torch.from_numpy(wanted.samples), rate_hz)
                    for got, wanted in zip(decoded, self._held_out, strict=True)
                ]
            )
        )


class Trainer:
    """Takes training steps on a state."""

    def __init__(
        self,
        settings: CodecTraining,
        state: TrainingState,
        device: torch.device,
        listeners: Listeners | None = None,
    ) -> None:
        self._settings, self._state, self._device = settings, state, device
        self._listeners = listeners or Listeners(settings)

    @torch.no_grad()
    def make_codebooks(self, crops: Crops, stage: Stage) -> None:
        """Start the codebooks at the latents of the first batches."""
        settings, model = self._settings, self._state.model
        latents = []
        for step in range(1, settings.kmeans_batches + 1):
            with self._autocast():
                latent = model.encoder(crops.batch(step, stage.crop_s).samples.to(self._device))
            latents.append(model.whitening(latent).flatten(0, 1))
        frames = latents[0].shape[0]
        model.quantizer.start(torch.cat(latents), frames, settings.seed)

    def update(self, step: int, stage: Stage, batch: Batch) -> dict[str, Tensor]:
        """Take one step on crops; return its figures."""
        settings, state, samples = self._settings, self._state, batch.samples
        chance = torch.Generator().manual_seed(_mix(settings.seed, step))
        if stage.codes_are_final:
            latent, guidance = tell(state.model, batch, chance)
            regularizer = samples.new_zeros(())
            figures: dict[str, Tensor] = {}
        else:
            (latent, regularizer, figures), guidance = self._encode(step, samples, chance), None
        noise_from = None
        if batch.pitch is not None:
            noise_from = torch.randint(NOISE_SAMPLES, (len(samples),), generator=chance).to(self._device)
        with self._autocast():
            decoded, foretold = state.model.decoder.speak(latent, None, guidance, batch.pitch, noise_from)
        figures["mel"] = mel_loss(decoded, samples, settings.codec.sample_rate_hz)
        loss = stage.mel_weight * figures["mel"] + regularizer
        if batch.pitch is not None and foretold is not None:
            figures["pitch"] = pitch_loss(foretold, batch.pitch)
            loss = loss + settings.pitch_weight * figures["pitch"]
        pull = torch.zeros_like(decoded)
        if state.discriminators is not None:
            pull, judged = self._confront(state.discriminators, decoded.detach(), samples)
            figures |= judged
        wish, heard = self._be_heard(decoded.detach(), samples)
        pull, figures = pull + wish, figures | heard
        torch.autograd.backward([loss, decoded], [None, pull])
        figures["gradient_norm"] = self._apply(step, stage)
        state.follow_decoder()
        return {name: value.detach() for name, value in figures.items()}

    def _encode(self, step: int, samples: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The latent for the decoder `[B, T, D]`, the encoder's own losses, and figures."""
        settings, model = self._settings, self._state.model
        used = draw_levels(samples.shape[0], settings.codec.levels, chance).to(self._device)
        with self._autocast():
            latent = model.encoder(samples)
        latent = model.whitening(latent)
        figures = {"covariance": covariance_penalty(latent)}
        regularizer = settings.covariance_weight * figures["covariance"]
        if step > settings.unquantized_steps:
            quantized = model.quantizer(latent, used, chance)
            latent, figures["commitment"] = quantized.latent, quantized.commitment
            regularizer = regularizer + settings.commitment_weight * quantized.commitment
        return latent, regularizer, figures

    def _confront(
        self, discriminators: Discriminators, decoded: Tensor, samples: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Leave gradients in the discriminators, and return the gradient that they send back to the decoded sound.

        One pass over the decoded sound serves both sides: its graph is followed once to the sound for the codec, and
        once to the weights for the discriminators.
        """
        decoded.requires_grad_()
        with self._autocast():
            on_real, on_decoded = discriminators(samples), discriminators(decoded)
            figures = {
                "adversarial": adversarial_loss(on_decoded),
                "feature": feature_loss(on_real, on_decoded),
                "discriminator": discriminator_loss(on_real, on_decoded),
            }
            wish = figures["adversarial"] + self._settings.feature_weight * figures["feature"]
        (pull,) = torch.autograd.grad(wish, decoded, retain_graph=True)
        torch.autograd.backward(figures["discriminator"], inputs=list(discriminators.parameters()))
        return pull, figures

    def _be_heard(self, decoded: Tensor, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the gradient that listeners send back to the decoded sound, and how far off it sounds to them."""
        decoded.requires_grad_()
        with self._autocast():
            loss, figures = self._listeners.listen(decoded, samples)
        if loss is None:
            return torch.zeros_like(decoded), figures
        (wish,) = torch.autograd.grad(loss, decoded)
        return wish, figures

    def _apply(self, step: int, stage: Stage) -> Tensor:
        """Move the weights along their gradients; return the norm of the codec's gradient before clipping."""
        settings, state = self._settings, self._state
        factor = _rate_factor(step - stage.first_step + 1, stage, settings.warmup_steps)
        pairs = [(state.optimizer, stage.learning_rate)]
        norms = []
        if state.discriminator_optimizer is not None:
            pairs.append((state.discriminator_optimizer, settings.discriminator_rate))
        for optimizer, rate in pairs:
            [group] = optimizer.param_groups
            group["lr"] = rate * factor
            norms.append(torch.nn.utils.clip_grad_norm_(group["params"], _CLIP_NORM))
            optimizer.step()
            optimizer.zero_grad()
        return norms[0]

    def _autocast(self) -> torch.autocast:
        asked = self._settings.precision
        bf16 = asked == "bf16" or (asked == "auto" and has_bf16(self._device))
        return torch.autocast(self._device.type, torch.bfloat16, enabled=bf16)


def _choose_device(settings: CodecTraining) -> torch.device:
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    return require_device(kind)


def _rate_factor(step: int, stage: Stage, warmup_steps: int) -> float:
    """Factor on the peak learning rates at a stage's `step`, from 1."""
    rise = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    constant = stage.constant_part * stage.steps
    if step <= constant:
        return rise
    fallen = (step - constant) / (stage.steps - constant)
    return rise * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * fallen)))


def _mix(seed: int, step: int) -> int:
    """One seed out of two numbers; neighbours have nothing in common."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _require_finite(figures: dict[str, Tensor], step: int) -> None:
    for name, value in figures.items():
        if not math.isfinite(float(value)):
            raise DivergedError(f"step {step}: {name} is {float(value)}; a lower learning rate may help")
