"""HuBERT, wav2vec2 and WavLM from folders or hub names of transformers: what one transformer layer puts out.

Layers are numbered as in `output_hidden_states`: 0 is the input of the first layer, N what layer N puts out. Behind
the last layer of a large model stands a norm that belongs to no layer; it is left out, as fairseq leaves it out. The
feature extractor's settings (sample rate, normalisation) are read from the folder, never guessed.
"""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from speechunits.devices import require_device
from speechunits.digests import digest_tensors
from speechunits.encoders.batched import BatchedEncoder, most_frames
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Wav2Vec2FeatureExtractor

_KINDS = ("hubert", "wav2vec2", "wavlm")
# Learned for masking in pre-training only; models that were fine-tuned without it are whole.
_NOT_NEEDED = {"masked_spec_embed"}
# What a configuration says of its own making rather than of the model.
_HISTORY = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures")


def load_transformers_model(
    where: str, layer: int, *, device: str = "cpu", batch_frames: int | None = None
) -> "TransformersEncoder":
    """Load a model as an encoder; nothing in its files is executed.

    Args:
        where: a folder as `save_pretrained` writes them (config.json, weights, preprocessor_config.json), or a name on
            the Hugging Face hub, which is downloaded into its cache.
        layer: transformer layer to read, 1 is the first.
        device: torch device.
        batch_frames: most frames in one padded batch; by default what suits the device.

    Raises:
        InputError: transformers is not installed; there is no such model, or it is of another kind, lacks weights or
            has no such layer; or the device cannot be used.
    """
    import_torchaudio()  # transformers imports it, too
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
    except ImportError as error:
        raise InputError("models of transformers need transformers: pip install 'speechunits[transformers]'") from error

    if Path(where).is_absolute() and not Path(where).is_dir():
        raise InputError(f"{where}: no such folder")
    try:
        # trust_remote_code stays off, and torch files are read by torch's weights-only reader.
        config = AutoConfig.from_pretrained(where)
        if config.model_type not in _KINDS:
            raise InputError(f"a model of type {config.model_type!r}, not {', '.join(_KINDS)}")
        if not 1 <= layer <= config.num_hidden_layers:
            raise InputError(f"layer {layer} is not one of its layers 1 to {config.num_hidden_layers}")
        extractor_class: Any = AutoFeatureExtractor  # transformers leaves this method without types
        extractor = extractor_class.from_pretrained(where)
        with _silence():
            model, found = AutoModel.from_pretrained(where, output_loading_info=True, dtype=torch.float32)
        # transformers only warns and goes on with random numbers in their place.
        if missing := set(found["missing_keys"]) - _NOT_NEEDED:
            raise InputError(f"its weights lack {len(missing)} tensors, {min(missing)} for one")
        if found["mismatched_keys"]:
            raise InputError("its weights do not have the shapes of its configuration")
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    # Which exception comes out depends on how far the hub, the cache or the files let it get.
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(f"{where}: not a model of transformers ({str(error).splitlines()[0]})") from error
    encoder = TransformersEncoder(model, extractor, layer, batch_frames or most_frames(device))
    model.to(require_device(device))
    return encoder


class TransformersEncoder(BatchedEncoder):
    """A `SpeechEncoder`; made by `load_transformers_model`."""

    def __init__(
        self, model: "PreTrainedModel", extractor: "Wav2Vec2FeatureExtractor", layer: int, batch_frames: int
    ) -> None:
        config = model.config
        # A batch norm before the positional convolution turns the zeros of padding into something else.
        super().__init__(0 if getattr(config, "conv_pos_batch_norm", False) else batch_frames)
        self._model = cast("Any", model)  # by its types, each part of it might as well be a tensor
        self._extractor = extractor
        self.sample_rate_hz = int(extractor.sampling_rate)
        self.frame_rate_hz = self.sample_rate_hz / float(np.prod(config.conv_stride))
        self.dimension = int(config.hidden_size)
        self.shortest_samples = _receptive_field(config.conv_kernel, config.conv_stride)
        self.identity = f"{config.model_type} {_digest(model, extractor)} layer {layer}"
        del self._model.encoder.layers[layer:]
        if getattr(config, "do_stable_layer_norm", False):
            self._model.encoder.layer_norm = nn.Identity()
        self._model.eval().requires_grad_(False)

    def _normalise(self, samples: Tensor) -> Tensor:
        if not self._extractor.do_normalize:
            return samples
        # As Wav2Vec2FeatureExtractor does, but with a gradient.
        return (samples - samples.mean()) / (samples.var(correction=0) + 1e-7).sqrt()

    def _convolve(self, samples: Tensor) -> Tensor:
        features = self._model.feature_extractor(samples[None].to(self._model.device))  # [1, conv width, frames]
        projected = self._model.feature_projection(features.transpose(1, 2))
        # wav2vec2 and WavLM also give what they would quantise.
        frames: Tensor = projected[0] if isinstance(projected, tuple) else projected  # [1, frames, D]
        return frames[0]

    def _transform(self, frames: Tensor, padding: Tensor | None) -> Tensor:
        encoded: Tensor = self._model.encoder(
            frames, attention_mask=None if padding is None else ~padding
        ).last_hidden_state
        return encoded


@contextmanager
def _silence() -> Iterator[None]:
    """Keep transformers from drawing a progress bar of its own and from reporting what is checked here anyway."""
    from transformers import utils

    logging: Any = utils.logging  # transformers leaves these functions without types
    before, drawing = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if drawing:
            logging.enable_progress_bar()


def _receptive_field(kernels: list[int], strides: list[int]) -> int:
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _digest(model: "PreTrainedModel", extractor: "Wav2Vec2FeatureExtractor") -> str:
    """Name weights, configuration and normalisation: all that the features depend on."""
    settings: dict[str, Any] = {
        name: value for name, value in model.config.to_diff_dict().items() if name not in _HISTORY
    }
    settings["extractor"] = [extractor.sampling_rate, extractor.do_normalize]
    text = json.dumps(settings, sort_keys=True, default=str).encode()
    return digest_tensors({**model.state_dict(), "settings": torch.frombuffer(bytearray(text), dtype=torch.uint8)})
