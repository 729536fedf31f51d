"""The shape of a codec, and how one is trained; nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Literal

from speechunits.errors import InputError

# What not every decoder has: units and a voice that it is told (`guide.py`), pulses and noise (`source.py`).
_OPTIONAL = ("decoder_units", "decoder_voice_width", "decoder_source")
_VOICE_WIDTH = 128


@dataclass(frozen=True)
class CodecSettings:
    """The shape of a codec. The defaults make 3.9 million values, 7.8 MB as they are stored.

    Attributes:
        sample_rate_hz: of the waveforms.
        hop: samples between two spectra; one code frame spans two of them (16,000 / 320 = 50 frames a second).
        window: samples of a spectrum, a multiple of `hop`.
        mel_bands: of the encoder's input.
        encoder_width: channels of the encoder.
        encoder_blocks: ConvNeXt blocks of the encoder at code frames; one more comes before the stride.
        latent_width: D, dimensions that are quantised.
        levels: K, residual codebooks.
        codebook_size: codes of each level.
        decoder_width: channels of the decoder.
        decoder_blocks: ConvNeXt blocks of the decoder at code frames.
        spectrum_blocks: ConvNeXt blocks of the decoder at spectra, twice as many a second.
        expansion: how much wider a block is inside.
        decoder_units: how many units there are that the decoder may be told beside the codes, one a code frame; 0 for
            a decoder that is told nothing.
        decoder_voice_width: channels of what such a decoder hears of the speaker; 0 with the other.
        decoder_source: 1 for a decoder that filters pulses at the voice's pitch, and noise; 0 for one that makes its
            spectra from nothing.

    Raises:
        InputError: a value is out of range.
    """

    sample_rate_hz: int = 16_000
    hop: int = 160
    window: int = 640
    mel_bands: int = 80
    encoder_width: int = 160
    encoder_blocks: int = 3
    latent_width: int = 32
    levels: int = 8
    codebook_size: int = 1024
    decoder_width: int = 256
    decoder_blocks: int = 2
    spectrum_blocks: int = 4
    expansion: int = 3
    decoder_units: int = 0
    decoder_voice_width: int = 0
    decoder_source: int = 0

    def __post_init__(self) -> None:
        for entry in fields(self):
            least = 0 if entry.name in _OPTIONAL else 1
            if getattr(self, entry.name) < least:
                raise InputError(f"codec: {entry.name} must be at least {least}, not {getattr(self, entry.name)}")
        if (self.decoder_units > 0) != (self.decoder_voice_width > 0):
            raise InputError("codec: decoder_units and decoder_voice_width go together: both are 0, or none is")
        if self.decoder_source > 1:
            raise InputError(f"codec: decoder_source is 0 or 1, not {self.decoder_source}")
        if self.window % self.hop or self.window == self.hop:
            raise InputError(f"codec: window ({self.window}) must be a multiple of hop ({self.hop}), twice or more")
        if (self.window - self.hop) % 2:
            raise InputError(f"codec: window ({self.window}) and hop ({self.hop}) must be both even or both odd")

    @property
    def frame_samples(self) -> int:
        """Samples of one code frame."""
        return 2 * self.hop

    @property
    def frame_rate_hz(self) -> float:
        """Code frames per second."""
        return self.sample_rate_hz / self.frame_samples

    def guided_by(self, units: int) -> "CodecSettings":
        """The same codec with a decoder that may be told which of so many units is said, and in whose voice."""
        return replace(self, decoder_units=units, decoder_voice_width=_VOICE_WIDTH)

    def with_source(self) -> "CodecSettings":
        """The same codec with a decoder that filters pulses and noise."""
        return replace(self, decoder_source=1)

    def describe(self) -> dict[str, int]:
        """For JSON: every value, but none of what its decoder does not have."""
        values = {entry.name: int(getattr(self, entry.name)) for entry in fields(self)}
        return {name: value for name, value in values.items() if value or name not in _OPTIONAL}

    @classmethod
    def parse(cls, values: Mapping[str, object], where: str) -> "CodecSettings":
        """Build from JSON, where every value is a whole number; what a decoder does not have need not be said.

        Raises:
            InputError: a key is unknown or missing, or a value is not a whole number or is out of range.
        """
        names = {entry.name for entry in fields(cls)}
        values = dict.fromkeys(_OPTIONAL, 0) | dict(values)
        if set(values) != names:
            raise InputError(f"{where}: the codec's keys must be {', '.join(sorted(names))}")
        whole = {name: value for name, value in values.items() if type(value) is int}
        for name in sorted(names - set(whole)):
            raise InputError(f"{where}: {name} must be a whole number, not {values[name]!r}")
        try:
            return cls(**whole)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error


StageName = Literal["reconstruction", "adversarial", "guide", "decoder"]


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: `reconstruction`: everything, spectral losses only; `adversarial`: everything, against a discriminator;
            `guide`: the decoder alone, spectral losses only, while it learns what units and voices sound like, or what
            to make of pulses and noise;
            `decoder`: the decoder alone, against a discriminator. In the last two encoder and codebooks stand still.
        first_step: its first step, from 1.
        steps: how many it takes.
        crop_s: seconds of each item of a batch.
        learning_rate: peak rate of the codec.
        constant_part: share of the steps at the peak rate; from there a cosine falls to 2 % of it.
        mel_weight: weight of the log-mel loss.
        discriminator_width: channels of the discriminators; 0 is none.
    """

    name: StageName
    first_step: int
    steps: int
    crop_s: float
    learning_rate: float
    constant_part: float
    mel_weight: float
    discriminator_width: int

    @property
    def codes_are_final(self) -> bool:
        """Whether the codes are those of the finished codec."""
        return self.name in ("guide", "decoder")


@dataclass(frozen=True)
class CodecTraining:
    """How a codec is trained, from scratch in three stages that share one run: reconstruction, adversarial, decoder.

    The loss of the reconstruction stage hardly tells how a codec sounds; the adversarial ones decide that. The codes
    are final when the decoder stage begins, so that language models can train on them from then on. From a finished
    codec (`base`) there is the decoder stage alone, and with `units` or `source` a stage before it, in which the
    decoder learns to be told them, or to filter.

    Attributes:
        codec: its shape.
        base: folder of a finished codec to go on from: only its decoder is trained, so its codes stay what they are;
            its shape counts, not `codec`. Empty for a codec from scratch.
        units: folder of units extracted of the list's recordings, by the names that they have in the list; recordings
            without any are left out. The base's decoder learns to be told them and a prompt in the same voice, so that
            few codes a frame are enough. Empty for a decoder that is told nothing.
        source: from a base on: its decoder becomes one that filters pulses and noise (`CodecSettings.decoder_source`).
            Training any such decoder needs SwiftF0 (`speechunits[pitch]`), and keeps the pitch of every recording that
            it has drawn in memory, 3 MB an hour.
        guide_steps: with `units` or `source`, steps in which only spectral losses count, before those of the decoder
            stage; left out where the base has learned all that.
        prompt_crop_s: with `units`, length of the prompts in training, s.
        voice: with `units`, column of the list that says who speaks: the prompt is another recording of the same
            speaker where there is one, else any part of the same.
        reconstruction_steps: steps of the reconstruction stage.
        adversarial_steps: steps of the adversarial stage.
        decoder_steps: steps of the decoder stage.
        batch_clips: crops in a batch.
        reconstruction_crop_s: length of a crop where only spectral losses count, s.
        adversarial_crop_s: length of a crop in the other stages, s.
        reconstruction_rate: peak learning rate where only spectral losses count.
        adversarial_rate: peak learning rate of the codec in the other stages.
        discriminator_rate: peak learning rate of the discriminators.
        warmup_steps: steps until the first peak of the learning rate.
        unquantized_steps: steps before the codebooks are made; quantised from the start, codes collapse.
        kmeans_batches: batches whose latents the codebooks are made of.
        mel_weight: of the log-mel loss where only spectral losses count.
        adversarial_mel_weight: of the log-mel loss in the other stages.
        feature_weight: of the distance between the discriminators' features.
        pitch_weight: of how far the pitch is off that a decoder with a source foretells: in octaves, and of whether
            there is one in nats.
        listener: an encoder, named as for extraction, whose features of decoded speech shall be those of the original;
            it knows what is said, and decoded speech becomes clearer. Empty for none.
        listener_layer: transformer layer of it, 1 is the first.
        listener_weight: of the distance between its features.
        listener_crops: how many crops of a batch it hears; it costs much of a step.
        speaker_encoder: file of CAM++'s weights (`campplus_cn_en_common.pt` of 3D-Speaker), whose embeddings of decoded
            speech shall be those of the original; it knows who speaks, and voices are kept better. Empty for none.
        speaker_weight: of the cosine distance between the embeddings.
        speaker_crops: how many crops of a batch it hears, the last ones; it costs much of a step.
        commitment_weight: of the distance between latents and their codes.
        covariance_weight: of the covariances between the latent's dimensions; it keeps all of them in use.
        adversarial_width: channels of the discriminators in the adversarial stage.
        decoder_stage_width: channels of the discriminators in the decoder stage.
        average_decay: of the decoder's averaged weights, which are stored once the codes are final; 0 keeps none.
        gain_db: crops are made louder or softer by up to this much.
        balance: column of the list by which crops are balanced: each of its values is drawn equally often.
            A list without this column is drawn from as it is.
        held_out_clips: clips kept for evaluation when the list has no rows with `dev` in a column `split`.
        precision: `bf16` computes under autocast, with weights in float32; `auto` takes it where the hardware has
            instructions for it, else fp32.
        seed: of the first weights, of the data's order and of all chance in training.
        device: torch device, or `auto` for CUDA where there is one.
        readers: threads that read crops ahead; a GPU is fast enough for several.
        log_every: steps between reports.
        evaluate_every: steps between evaluations on held-out clips, which also renew the stored codec once its codes
            are final.
        checkpoint_minutes: time between checkpoints.

    Raises:
        InputError: a value is out of range.
    """

    codec: CodecSettings = field(default_factory=CodecSettings)
    base: str = ""
    units: str = ""
    source: bool = False
    guide_steps: int = 3_000
    prompt_crop_s: float = 1.5
    voice: str = "speaker"
    reconstruction_steps: int = 20_000
    adversarial_steps: int = 10_000
    decoder_steps: int = 20_000
    batch_clips: int = 10
    reconstruction_crop_s: float = 1.0
    adversarial_crop_s: float = 0.8
    reconstruction_rate: float = 1.2e-3
    adversarial_rate: float = 3e-4
    discriminator_rate: float = 7.5e-4
    warmup_steps: int = 100
    unquantized_steps: int = 150
    kmeans_batches: int = 60
    mel_weight: float = 15.0
    adversarial_mel_weight: float = 7.0
    feature_weight: float = 4.0
    pitch_weight: float = 2.0
    listener: str = ""
    listener_layer: int = 3
    listener_weight: float = 6.0
    listener_crops: int = 4
    speaker_encoder: str = ""
    speaker_weight: float = 6.0
    speaker_crops: int = 4
    commitment_weight: float = 0.25
    covariance_weight: float = 0.3
    adversarial_width: int = 16
    decoder_stage_width: int = 32
    average_decay: float = 0.999
    gain_db: float = 6.0
    balance: str = "source"
    held_out_clips: int = 16
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0
    device: str = "auto"
    readers: int = 1
    log_every: int = 20
    evaluate_every: int = 1_000
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        whole_from_one = ("reconstruction_steps", "batch_clips", "kmeans_batches", "adversarial_width")
        least: dict[str, float] = dict.fromkeys((*whole_from_one, "decoder_stage_width", "log_every"), 1)
        least |= dict.fromkeys(("held_out_clips", "evaluate_every", "readers"), 1)
        least |= dict.fromkeys(("listener_layer", "listener_crops", "speaker_crops"), 1)
        least |= dict.fromkeys(("adversarial_steps", "decoder_steps", "warmup_steps", "unquantized_steps"), 0)
        least |= dict.fromkeys(("guide_steps", "average_decay", "checkpoint_minutes"), 0)
        least |= dict.fromkeys(("mel_weight", "adversarial_mel_weight", "feature_weight", "commitment_weight"), 0)
        least |= dict.fromkeys(
            (
                "pitch_weight",
                "listener_weight",
                "speaker_weight",
                "covariance_weight",
                "gain_db",
                "seed",
                "average_decay",
                "checkpoint_minutes",
            ),
            0,
        )
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"codec training: {name} must be at least {bound}, not {getattr(self, name)}")
        for name in ("reconstruction_rate", "adversarial_rate", "discriminator_rate"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"codec training: {name} must be above 0, not {getattr(self, name)}")
        if self.base and not self.decoder_steps:
            raise InputError("codec training: with a base the decoder is trained, and decoder_steps is 0")
        if self.codec.decoder_units and not self.base:
            raise InputError("codec training: a decoder is told units from a base and units on, not by its shape")
        if self.units and not self.base:
            raise InputError("codec training: units are for a decoder whose codes are final: say of which codec (base)")
        if self.source and not self.base:
            raise InputError(
                "codec training: source is for the decoder of a base; a codec from scratch has it by its shape "
                "(codec.decoder_source)"
            )
        if not self.prompt_crop_s > 0.0:
            raise InputError(f"codec training: prompt_crop_s must be above 0, not {self.prompt_crop_s}")
        if self.average_decay >= 1.0:
            raise InputError(f"codec training: average_decay must be below 1, not {self.average_decay}")
        if self.unquantized_steps >= self.reconstruction_steps:
            raise InputError(
                f"codec training: unquantized_steps ({self.unquantized_steps}) must be fewer than "
                f"reconstruction_steps ({self.reconstruction_steps})"
            )
        frames = self.kmeans_batches * self.batch_clips * int(self.reconstruction_crop_s * self.codec.frame_rate_hz)
        if frames < self.codec.codebook_size:
            raise InputError(
                f"codec training: kmeans_batches ({self.kmeans_batches}) hold {frames} frames, too few for "
                f"{self.codec.codebook_size} codes"
            )
        for name in ("reconstruction_crop_s", "adversarial_crop_s"):
            # The longest window of the spectral loss must see whole sound.
            if getattr(self, name) * self.codec.sample_rate_hz < 2_048:
                raise InputError(f"codec training: {name} must span 2,048 samples, not {getattr(self, name)} s")

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.stages())

    @property
    def unquantized(self) -> int:
        """Steps before the codebooks are made; they are there from the start when a codec is gone on from."""
        return 0 if self.base else self.unquantized_steps

    def stages(self) -> list[Stage]:
        """The stages in their order; one without steps is left out."""
        crop_s, rate, mel_weight = self.adversarial_crop_s, self.adversarial_rate, self.adversarial_mel_weight
        spectral = (self.reconstruction_crop_s, self.reconstruction_rate, 0.5, self.mel_weight, 0)
        if self.base:
            plan = [Stage("guide", 1, self.guide_steps if self.units or self.source else 0, *spectral)]
        else:
            plan = [
                Stage("reconstruction", 1, self.reconstruction_steps, *spectral),
                # Constant: the discriminator has only begun, and the third stage goes on from here.
                Stage("adversarial", 1, self.adversarial_steps, crop_s, rate, 1.0, mel_weight, self.adversarial_width),
            ]
        plan.append(Stage("decoder", 1, self.decoder_steps, crop_s, rate, 0.0, mel_weight, self.decoder_stage_width))
        ends = accumulate(stage.steps for stage in plan)
        return [
            replace(stage, first_step=end - stage.steps + 1)
            for stage, end in zip(plan, ends, strict=True)
            if stage.steps
        ]
