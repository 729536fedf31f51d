"""All that changes from step to step in training, and its file.

Data, chance and learning rates are functions of the seed and the step, so that this and the step are all a run needs
to go on as if it had never stopped.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from speechunits.codecs.speech_codec.discriminator import Discriminators, make_discriminators
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.settings import CodecTraining, Stage
from speechunits.errors import InputError
from speechunits.extracted import UnitsInfo
from speechunits.files import write_atomically

_FORMAT = "speechunits.speech_codec.training.1"


class TrainingState:
    """Networks, their averages and their optimizers.

    Attributes:
        model: the codec.
        optimizer: of the codec.
        discriminators: present in the stages that have them.
        discriminator_optimizer: present with them.
        average: the decoder's averaged weights by name, where the codes are final.
    """

    def __init__(self, settings: CodecTraining, device: torch.device, told: UnitsInfo | None = None) -> None:
        """Make a fresh codec, whose first weights depend on the seed alone.

        Args:
            settings: of the run.
            device: where it trains.
            told: what units its decoder may be told, if any.
        """
        self._settings, self._device = settings, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.model = CodecModel(settings.codec, told).to(device)
        self.optimizer = _make_optimizer(self.model)
        self.discriminators: Discriminators | None = None
        self.discriminator_optimizer: torch.optim.Optimizer | None = None
        self.average: dict[str, Tensor] = {}
        self._width = 0

    def enter(self, stage: Stage) -> None:
        """Prepare a stage's first step, or the loading of a state from within it."""
        self.model.train()
        if stage.discriminator_width and stage.discriminator_width != self._width:
            seed = self._settings.seed + stage.discriminator_width
            self.discriminators = make_discriminators(stage.discriminator_width, seed).to(self._device)
            self.discriminator_optimizer = _make_optimizer(self.discriminators)
        self._width = stage.discriminator_width
        if stage.codes_are_final:
            self.model.freeze_codes()
            if self._settings.average_decay:
                self.average = {name: value.detach().clone() for name, value in self.model.decoder.named_parameters()}

    @torch.no_grad()
    def follow_decoder(self) -> None:
        """Move the averaged weights a step towards the present ones."""
        if self.average:
            present = dict(self.model.decoder.named_parameters())
            weight = 1.0 - self._settings.average_decay
            torch._foreach_lerp_(list(self.average.values()), [present[name] for name in self.average], weight)

    def write(self, path: Path, step: int) -> None:
        """Write the state after a step, atomically."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors()}
        write_atomically(path, save(tensors, metadata={_FORMAT: str(step)}))

    @torch.no_grad()
    def read(self, path: Path) -> None:
        """Take over a state; `enter` must have been called with its stage.

        Raises:
            InputError: the file is something else, or of a run with other settings.
        """
        with _open_state(path) as stored:
            names = set(stored.keys())
            # The optimizers are fresh here: these are the networks' tensors alone.
            for name, tensor in self._tensors():
                if name not in names:
                    raise InputError(f"{path}: {name!r} is missing")
                names.remove(name)
                tensor.copy_(stored.get_tensor(name))
            for prefix, module, optimizer in self._optimizers():
                for name, parameter in module.named_parameters():
                    mine = {key: f"{prefix}/{key}/{name}" for key in ("exp_avg", "exp_avg_sq", "step")}
                    if names.issuperset(mine.values()):
                        memory = {key: stored.get_tensor(entry) for key, entry in mine.items()}
                        # AdamW keeps its step count on the CPU.
                        optimizer.state[parameter] = {
                            key: value if key == "step" else value.to(self._device) for key, value in memory.items()
                        }
                        names.difference_update(mine.values())
        if names:
            raise InputError(f"{path}: holds {min(names)!r}, which this run does not know")

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        # A codec's buffers count whether they are stored with it or not.
        yield from ((f"codec/{name}", tensor) for name, tensor in self.model.named_parameters())
        yield from ((f"codec/{name}", tensor) for name, tensor in self.model.named_buffers())
        if self.discriminators is not None:
            yield from ((f"discriminators/{name}", tensor) for name, tensor in self.discriminators.named_parameters())
        yield from ((f"average/{name}", tensor) for name, tensor in self.average.items())
        for prefix, module, optimizer in self._optimizers():
            for name, parameter in module.named_parameters():
                for key, tensor in optimizer.state.get(parameter, {}).items():
                    yield f"{prefix}/{key}/{name}", tensor

    def _optimizers(self) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer]]:
        yield "optimizer", self.model, self.optimizer
        if self.discriminators is not None and self.discriminator_optimizer is not None:
            yield "discriminator_optimizer", self.discriminators, self.discriminator_optimizer


def read_step(path: Path) -> int:
    """The step after which a state was written.

    Raises:
        InputError: the file is something else.
    """
    with _open_state(path) as stored:
        metadata: Mapping[str, str] = stored.metadata() or {}
        if _FORMAT not in metadata:
            raise InputError(f"{path}: not a training state of a codec ({_FORMAT})")
        return int(metadata[_FORMAT])


def _open_state(path: Path) -> "safe_open":
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error


def _make_optimizer(module: nn.Module) -> torch.optim.Optimizer:
    # The learning rate is set before each step. Short memories suit a game between two networks.
    return torch.optim.AdamW(module.parameters(), lr=0.0, betas=(0.8, 0.99))
