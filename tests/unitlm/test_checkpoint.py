"""Checkpoints: what is written comes back, what is broken is refused, and a crash leaves the old one."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from unitlm import checkpoint as checkpoints
from unitlm.checkpoint import (
    Checkpoint,
    hash_tensors,
    load_model,
    named_tensors,
    read_checkpoint,
    save_model,
    write_checkpoint,
)
from unitlm.errors import InputError
from unitlm.files import write_text
from unitlm.model import Decoder, ModelConfig
from unitlm.settings import parse_settings

SMALL = ModelConfig(vocabulary_size=23, width=16, layers=2, heads=4, key_value_heads=2, feed_forward_width=24)
UNTIED = ModelConfig(
    vocabulary_size=23, width=16, layers=1, heads=2, key_value_heads=2, feed_forward_width=24, tied=False, conditions=3
)


def make_model(config: ModelConfig = SMALL, seed: int = 0) -> Decoder:
    model = Decoder(config).eval()
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("config", [SMALL, UNTIED])
def test_model_round_trip(config: ModelConfig, tmp_path: Path) -> None:
    model = make_model(config)
    save_model(tmp_path / "model", model, {"language": "zh"})
    loaded = load_model(tmp_path / "model")
    ids = torch.arange(10).unsqueeze(0)
    assert loaded.config == config
    assert torch.equal(model(ids), loaded(ids))
    assert (loaded.head.weight is loaded.embedding.weight) == config.tied
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert read_checkpoint(tmp_path / "model").metadata == {"language": "zh"}


def test_types_and_shapes_survive(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(3, 2).bfloat16(),
        "scalar": torch.tensor(7.0),
        "whole": torch.arange(5),
        "view": torch.randn(4, 6).t(),
    }
    write_checkpoint(tmp_path, Checkpoint("thing", {}, {"step": 3}, {"first": tensors, "second": {"x": torch.ones(1)}}))
    back = read_checkpoint(tmp_path, parts=("first",)).parts
    assert list(back) == ["first"]
    for name, tensor in tensors.items():
        assert back["first"][name].dtype == tensor.dtype
        assert torch.equal(back["first"][name], tensor)


def test_overwriting_leaves_one_checkpoint(tmp_path: Path) -> None:
    save_model(tmp_path, make_model(seed=0))
    save_model(tmp_path, make_model(seed=1))
    expected = make_model(seed=1)
    assert torch.equal(load_model(tmp_path).embedding.weight, expected.embedding.weight)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("deadly_replace", [1, 2, 3])
def test_crash_while_overwriting_leaves_the_old_one(
    deadly_replace: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_model(seed=0)
    save_model(tmp_path, old)
    calls = 0
    replace = Path.replace

    def dying_replace(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == deadly_replace:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying_replace)
    with pytest.raises(KeyboardInterrupt):
        save_model(tmp_path, make_model(seed=1))
    monkeypatch.undo()
    assert torch.equal(load_model(tmp_path).embedding.weight, old.embedding.weight)
    save_model(tmp_path, make_model(seed=1))
    assert len(list(tmp_path.iterdir())) == 2, "the next save sweeps up what the crash left"


def part_of(folder: Path) -> Path:
    return next(folder.glob("model-*.safetensors"))


def truncate(folder: Path) -> None:
    os.truncate(part_of(folder), 100)


def flip_a_bit(folder: Path) -> None:
    data = bytearray(part_of(folder).read_bytes())
    data[-1] ^= 1
    part_of(folder).write_bytes(data)


def remove_part(folder: Path) -> None:
    part_of(folder).unlink()


def put_pickle_in_its_place(folder: Path) -> None:
    data = pickle.dumps({"weights": [1.0] * 10})
    part_of(folder).write_bytes(data + b" " * (part_of(folder).stat().st_size - len(data)))


def truncate_json(folder: Path) -> None:
    os.truncate(folder / "checkpoint.json", 50)


def change_json(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "100 bytes instead of"),
        (flip_a_bit, "damaged"),
        (put_pickle_in_its_place, "damaged"),
        (remove_part, "missing"),
        (truncate_json, "not JSON"),
        (lambda folder: (folder / "checkpoint.json").write_text("[1]"), "expected a JSON object"),
        (lambda folder: (folder / "checkpoint.json").write_bytes(b"\xff\xfe"), "not JSON"),
        (lambda folder: (folder / "checkpoint.json").unlink(), "not a checkpoint"),
        (lambda folder: change_json(folder, format="other"), "not a unitlm-checkpoint file"),
        (lambda folder: change_json(folder, version=99), "version 99"),
        (lambda folder: change_json(folder, kind="adapter"), "kind 'adapter', expected 'decoder'"),
        (lambda folder: change_json(folder, parts={}), "no part 'model'"),
        (lambda folder: change_json(folder, parts={"model": 1}), "part 'model' is not an object"),
        (lambda folder: change_json(folder, parts={"model": {"file": "x"}}), "'sha256' is missing"),
        (lambda folder: change_json(folder, config=None), "'config' is missing"),
        (lambda folder: change_json(folder, config={"width": 16}), "'vocabulary_size' is missing"),
    ],
)
def test_broken_checkpoint_is_refused_in_one_line(damage, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    save_model(tmp_path, make_model())
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    save_model(tmp_path / "real", make_model())
    save_model(tmp_path / "fake", make_model())
    manifest = json.loads((tmp_path / "fake" / "checkpoint.json").read_text())
    part = part_of(tmp_path / "fake")
    part.unlink()
    manifest["parts"]["model"]["file"] = f"../real/{part.name}"
    (tmp_path / "fake" / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="missing"):
        load_model(tmp_path / "fake")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    tensors = named_tensors(make_model())
    for change, message in (
        ({"norm.weight": torch.ones(17)}, r"'norm.weight' is \[17\], expected \[16\]"),
        ({"extra": torch.ones(1)}, "'extra', which this model does not know"),
    ):
        with pytest.raises(InputError, match=message):
            checkpoints.build_model(SMALL, {**tensors, **change}, "here")
    del tensors["norm.weight"]
    with pytest.raises(InputError, match=r"lack 'norm.weight'"):
        checkpoints.build_model(SMALL, tensors, "here")


def test_hash_sees_every_bit_and_name() -> None:
    tensors = {"a": torch.randn(4), "b": torch.randn(2).bfloat16(), "c": torch.tensor(1)}
    same = {name: tensors[name].clone() for name in ("c", "a", "b")}
    assert hash_tensors(tensors) == hash_tensors(same)
    assert hash_tensors(tensors) != hash_tensors({**tensors, "a": tensors["a"] + 1e-6})
    assert hash_tensors(tensors) != hash_tensors({**tensors, "a": tensors["a"].reshape(2, 2)})
    assert hash_tensors({"a": torch.ones(1)}) != hash_tensors({"b": torch.ones(1)})


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 8}, "unknown key 'widht'; did you mean 'width'"),
        ({"width": "8"}, "width must be int, got '8'"),
        ({"layers": True}, "layers must be int, got True"),
        ({"tied": 1}, "tied must be bool, got 1"),
        ({"dropout": 1.5}, "dropout"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], message: str) -> None:
    values = {**asdict(SMALL), "width": 8}
    assert parse_settings(ModelConfig, {**values, "dropout": 0}, "m.json").dropout == 0.0
    with pytest.raises(InputError, match=message):
        parse_settings(ModelConfig, {**values, **changes}, "m.json")
