"""Checkpoints: a folder of safetensors files and one JSON file that says which of them count.

    checkpoint.json                  format, version, kind, config, metadata, and the parts below with their digests
    model-3f9c0a7be1d2.safetensors   one part; its name carries the first digits of its SHA-256

A save writes the parts under new names first and then replaces `checkpoint.json` by a rename. So a crash at any
moment leaves either the old checkpoint or the new one, also when a folder is overwritten. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unitlm.errors import InputError
from unitlm.files import Json, flush, read_json, replacing, write_json
from unitlm.model import Decoder, ModelConfig
from unitlm.settings import parse_settings

FORMAT = "unitlm-checkpoint"
VERSION = 1
MANIFEST = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Attributes:
        kind: What it is, such as `decoder` or `adapter`.
        config: The shape of the model, or of the adapter.
        metadata: Anything else worth keeping, such as the training step.
        parts: Part name (`model`, `average`, `optimizer`) to tensor name to tensor.
    """

    kind: str
    config: Mapping[str, Json]
    metadata: Mapping[str, Json]
    parts: Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class _Part:
    file: str
    sha256: str
    bytes: int


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `folder`; a checkpoint already there is replaced and stays valid until that very moment.

    Raises:
        InputError: The disk is full, or the folder cannot be written.
    """
    written: dict[str, Json] = {}
    for name, tensors in checkpoint.parts.items():
        staged = folder / f"{name}-staged.safetensors"  # the name of a leftover that the next save sweeps away
        with replacing(staged) as temporary:
            try:
                save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, temporary)
            except SafetensorError as error:  # which a full disk is, too
                raise InputError(f"{folder}: the part {name!r} cannot be written ({error})") from error
        digest = _hash_file(staged)
        final = staged.replace(folder / f"{name}-{digest[:12]}.safetensors")
        written[name] = cast(Json, asdict(_Part(final.name, digest, final.stat().st_size)))
    manifest: dict[str, Json] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": checkpoint.kind,
        "config": checkpoint.config,
        "metadata": checkpoint.metadata,
        "parts": written,
    }
    flush(folder)  # the parts' names reach the disk before the manifest that relies on them
    write_json(folder / MANIFEST, manifest)
    kept = {part["file"] for part in written.values() if isinstance(part, dict)}
    for name in checkpoint.parts:
        for path in folder.glob(f"{name}-*.safetensors"):
            if path.name not in kept:
                path.unlink()


def read_checkpoint(
    folder: Path, *, kind: str | None = None, parts: Collection[str] | None = None, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Read a checkpoint and verify it.

    Args:
        folder: The checkpoint's folder.
        kind: The kind it must be of; any when not given.
        parts: The parts to read; all when not given.
        device: Where the tensors go.

    Raises:
        InputError: There is no checkpoint, it is of another format, a newer version or another kind, or a part is
            missing, cut short or damaged.
    """
    manifest = read_manifest(folder)
    found = manifest["kind"]
    if kind is not None and found != kind:
        raise InputError(f"{folder}: a checkpoint of kind {found!r}, expected {kind!r}")
    listed = cast(Mapping[str, Mapping[str, Json]], manifest["parts"])
    wanted = list(listed) if parts is None else list(parts)
    tensors = {}
    for name in wanted:
        if name not in listed:
            raise InputError(f"{folder}: the checkpoint has no part {name!r} (it has {', '.join(listed)})")
        part = parse_settings(_Part, listed[name], f"{folder / MANIFEST}: part {name!r}")
        tensors[name] = _read_part(folder, part, device)
    return Checkpoint(
        kind=str(found),
        config=cast(Mapping[str, Json], manifest["config"]),
        metadata=cast(Mapping[str, Json], manifest["metadata"]),
        parts=tensors,
    )


def read_manifest(folder: Path) -> Mapping[str, Json]:
    """Read and check `checkpoint.json` alone: config and metadata without the tensors.

    Raises:
        InputError: As for `read_checkpoint`.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: not a checkpoint (no {MANIFEST})")
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not a {FORMAT} file")
    if manifest.get("version") != VERSION:
        raise InputError(f"{path}: version {manifest.get('version')!r}, this program reads version {VERSION}")
    if not isinstance(manifest.get("kind"), str):
        raise InputError(f"{path}: 'kind' is missing or not a word")
    for key in ("config", "metadata", "parts"):
        if not isinstance(manifest.get(key), dict):
            raise InputError(f"{path}: {key!r} is missing or not an object")
    for name, part in cast(Mapping[str, Json], manifest["parts"]).items():
        if not isinstance(part, dict):
            raise InputError(f"{path}: part {name!r} is not an object")
    return manifest


def save_model(folder: Path, model: Decoder, metadata: Mapping[str, Json] | None = None) -> None:
    """Write a decoder's shape and weights to `folder`."""
    parts = {"model": named_tensors(model)}
    write_checkpoint(folder, Checkpoint("decoder", asdict(model.config), metadata or {}, parts))


def load_model(folder: Path, *, device: torch.device | str = "cpu", part: str = "model") -> Decoder:
    """Read a decoder, ready to run (in evaluation mode).

    Args:
        folder: A folder from `save_model`, or a training checkpoint.
        device: Where the weights go.
        part: `model`, or `average` for the averaged weights of a training checkpoint.

    Raises:
        InputError: The folder holds no decoder, or is damaged.
    """
    checkpoint = read_checkpoint(folder, kind="decoder", parts=(part,), device=device)
    config = parse_settings(ModelConfig, checkpoint.config, f"{folder / MANIFEST}: config")
    return build_model(config, checkpoint.parts[part], str(folder))


def build_model(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> Decoder:
    """Make a decoder out of given weights, in evaluation mode.

    Raises:
        InputError: Names or shapes of the weights are not those of `config`.
    """
    # On the meta device nothing is drawn or allocated: the tensors read from disk become the weights themselves.
    with torch.device("meta"):
        model = Decoder(config)
    expected = named_tensors(model)
    for name, tensor in expected.items():
        if name not in tensors:
            raise InputError(f"{where}: the weights lack {name!r}")
        if tensors[name].shape != tensor.shape:
            raise InputError(f"{where}: {name!r} is {list(tensors[name].shape)}, expected {list(tensor.shape)}")
    for name in tensors:
        if name not in expected:
            raise InputError(f"{where}: the weights have {name!r}, which this model does not know")
    model.load_state_dict(tensors, strict=False, assign=True)
    if config.tied:
        model.head.weight = model.embedding.weight  # assigning replaced the parameter, and so undid the tie
    return model.eval()


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, a shared one once, under its first name."""
    persistent = module.state_dict(keep_vars=True)
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return {**dict(module.named_parameters()), **buffers}


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: equal exactly when the weights are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_part(folder: Path, part: _Part, device: torch.device | str) -> dict[str, Tensor]:
    path = folder / Path(part.file).name  # a part lies in the folder, whatever the manifest says
    if not path.is_file():
        raise InputError(f"{path}: missing; the checkpoint's {MANIFEST} names it")
    size = path.stat().st_size
    if size != part.bytes:
        raise InputError(f"{path}: {size} bytes instead of {part.bytes}; the copy is incomplete")
    if _hash_file(path) != part.sha256:
        raise InputError(f"{path}: damaged (its SHA-256 is not the one in {MANIFEST})")
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from error


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
