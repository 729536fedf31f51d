"""What the training of an encoder may be told; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polyvoice.errors import InputError


@dataclass(frozen=True)
class HubertShape:
    """The shape of the model. The defaults make 3.9 million parameters.

    Attributes:
        conv_layers: the convolutions in fairseq's notation, (width, kernel, stride) each. Their frames must be
            HuBERT's, every 20 ms through 25 ms. The default begins with a stride of 10 instead of 5 and grows wider
            on its way: next to HuBERT's own with 256 channels it trains three times as fast.
        layers: of the transformer.
        width: D, also of the features.
        heads: of the attention.
        feed_forward_width: inner width of the feed-forward part.
        norm_first: whether norms stand in front of attention and feed-forward part, or behind, as in HuBERT-base.
        position_kernel: frames that the convolution for relative positions sees; 128 in HuBERT.
        position_groups: of that convolution.
        label_width: dimensions in which frames are compared with labels.
        dropout: of the transformer, attention included.

    Raises:
        InputError: the sizes do not fit together.
    """

    conv_layers: str = "[(64,20,10)] + [(128,3,2)] + [(192,3,2)] + [(256,3,2)] + [(256,2,2)] * 2"
    layers: int = 4
    width: int = 256
    heads: int = 4
    feed_forward_width: int = 1_024
    norm_first: bool = False
    position_kernel: int = 32
    position_groups: int = 8
    label_width: int = 64
    dropout: float = 0.05

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "feed_forward_width", "position_kernel", "position_groups"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads or self.width % self.position_groups:
            raise InputError(f"width {self.width} must be a multiple of heads and of position_groups")
        if self.label_width < 1 or not 0.0 <= self.dropout < 1.0:
            raise InputError("label_width must be at least 1, and dropout in [0, 1)")


@dataclass(frozen=True)
class Masking:
    """What is hidden from the model, and what it is asked.

    HuBERT hides spans of 10 frames that start at 8 % of all frames and asks for the hidden ones only (its section
    3.3). Where the labels are those of a good teacher, asking for the frames it hears as well is learned much faster.

    Attributes:
        mask_share: share of frames that spans would cover if none overlapped.
        mask_frames: length of a span.
        masked_weight: weight of hidden frames in the loss; fairseq's pred_masked_weight.
        heard_weight: weight of the other frames; fairseq's pred_nomask_weight.
        label_temperature: divides the cosines before the softmax.

    Raises:
        InputError: a value is out of range.
    """

    mask_share: float = 0.5
    mask_frames: int = 10
    masked_weight: float = 1.0
    heard_weight: float = 1.0
    label_temperature: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.mask_share <= 1.0 or self.mask_frames < 1:
            raise InputError("mask_share must lie in [0, 1], and mask_frames must be at least 1")
        if min(self.masked_weight, self.heard_weight) < 0.0 or self.masked_weight + self.heard_weight <= 0.0:
            raise InputError("masked_weight and heard_weight must not be negative, nor both 0")
        if self.mask_share == 0.0 and self.heard_weight == 0.0:
            raise InputError("nothing is asked: mask_share and heard_weight are both 0")
        if not self.label_temperature > 0.0:
            raise InputError(f"label_temperature must be above 0, not {self.label_temperature:g}")


@dataclass(frozen=True)
class Augmentation:
    """What is done to the sound but not to its labels, so that units become deaf to speaker and channel.

    Gain is not among it: the waveform is normalized, so the model cannot hear it.

    Attributes:
        resample_probability: how often a crop is played faster or slower, which moves pitch and formants as another
            speaker would; its labels are stretched alike.
        resample_range: the slowest and the fastest, as factors on the speed.
        equalizer_db: standard deviation of a smooth random frequency response, in dB; 0 for none.
        noise_probability: how often coloured noise is added.
        noise_snr_db: the least and the greatest ratio of speech to noise, in dB.
        mix_probability: how often another crop of the batch is laid over up to half of a crop (as in WavLM, arXiv
            2110.13900, section 4.1).
        mix_snr_db: the least and the greatest ratio of the first speaker to the second, in dB.

    Raises:
        InputError: a value is out of range.
    """

    resample_probability: float = 0.5
    resample_range: tuple[float, float] = (0.88, 1.14)
    equalizer_db: float = 4.0
    noise_probability: float = 0.3
    noise_snr_db: tuple[float, float] = (5.0, 25.0)
    mix_probability: float = 0.1
    mix_snr_db: tuple[float, float] = (0.0, 10.0)

    def __post_init__(self) -> None:
        for name in ("resample_probability", "noise_probability", "mix_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} must lie in [0, 1], not {getattr(self, name):g}")
        for name in ("resample_range", "noise_snr_db", "mix_snr_db"):
            least, greatest = getattr(self, name)
            if least > greatest:
                raise InputError(f"{name}: {least:g} is more than {greatest:g}")
        if not 0.5 <= self.resample_range[0] <= self.resample_range[1] <= 2.0:
            raise InputError("resample_range must lie between 0.5 and 2")
        if self.equalizer_db < 0.0:
            raise InputError(f"equalizer_db must not be negative, not {self.equalizer_db:g}")


@dataclass(frozen=True)
class EncoderCourse:
    """Steps and rates.

    Attributes:
        steps: optimizer steps of the whole run.
        batch_frames: labelled frames of a batch, about; 3,000 are a minute of sound.
        longest_crop_s: longer utterances are cropped at random, anew each time.
        learning_rate: its peak.
        warmup_steps: steps until the peak.
        decay_steps: steps of the fall at the end; a quarter of all when not given.
        weight_decay: of matrices.
        clip_norm: largest norm of the gradient.
        average_decay: decay of the averaged weights, which are what is evaluated and kept; 0 keeps none.
        precision: bf16 computes under autocast, with weights in float32; auto takes it where the hardware has
            instructions for it, else fp32.
        held_out_share: share of the utterances that is not trained on but evaluated, chosen by a digest of the path.
        seed: of the weights, the order of the data and all chance in training.
        evaluate_every: steps between evaluations.
        checkpoint_minutes: between checkpoints; 0 writes one after every step.
        log_every: steps between lines of metrics.jsonl.
        device: auto, cpu, cuda or cuda:N.
        readers: processes that make batches ahead, for a GPU that would wait; 0 makes them beside training.

    Raises:
        InputError: a value is out of range.
    """

    steps: int = 8_000
    batch_frames: int = 4_000
    longest_crop_s: float = 8.0
    learning_rate: float = 1e-3
    warmup_steps: int = 400
    decay_steps: int | None = None
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    average_decay: float = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    held_out_share: float = 0.02
    seed: int = 0
    evaluate_every: int = 500
    checkpoint_minutes: float = 3.0
    log_every: int = 20
    device: str = "auto"
    readers: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_frames", "evaluate_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("longest_crop_s", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name):g}")
        for name in ("weight_decay", "average_decay", "held_out_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must lie in [0, 1), not {getattr(self, name):g}")
        counts = (self.warmup_steps, self.checkpoint_minutes, self.seed, self.decay_steps or 0, self.readers)
        if min(counts) < 0:
            raise InputError("warmup_steps, decay_steps, checkpoint_minutes, seed and readers must not be negative")
        if self.warmup_steps + self.falling_steps > self.steps:
            raise InputError(f"warmup and decay are more than the {self.steps} steps")

    @property
    def falling_steps(self) -> int:
        """Steps of the fall at the end."""
        return self.steps // 4 if self.decay_steps is None else self.decay_steps


@dataclass(frozen=True)
class EncoderSettings:
    """Everything about the training of an encoder.

    Attributes:
        labels: folders that `speechunits extract` wrote, with units at 50 Hz. Several are several questions about
            each frame (two clusterings say more than one); they must list the same files.
        audio_folder: where the paths in the labels start from: the folder of the list that was extracted.
        out: the run's folder; the same command continues what it finds there.
        shape: of the model.
        masking: what is hidden and asked.
        augmentation: what is done to the sound.
        course: steps and rates.

    Raises:
        InputError: no labels are given.
    """

    labels: tuple[Path, ...]
    audio_folder: Path
    out: Path
    shape: HubertShape = field(default_factory=HubertShape)
    masking: Masking = field(default_factory=Masking)
    augmentation: Augmentation = field(default_factory=Augmentation)
    course: EncoderCourse = field(default_factory=EncoderCourse)

    def __post_init__(self) -> None:
        if not self.labels:
            raise InputError("at least one folder of labels is needed")
