"""The training loop: exact resume, equal results on one process and two, and everything it must refuse."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from unitlm.checkpoint import hash_tensors, load_model, read_checkpoint
from unitlm.data import Batch
from unitlm.ema import WeightAverage
from unitlm.errors import DivergedError, InputError
from unitlm.metrics import MetricsLog, read_metrics
from unitlm.model import ABSENT, Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.optimizer import Optimizers
from unitlm.run_folder import find_checkpoints, step_of
from unitlm.schedule import learning_rate_factor
from unitlm.settings import parse_settings
from unitlm.shards import Example, ShardSet, write_shards
from unitlm.train import TrainResult, train
from unitlm.train_config import TrainConfig

WORKER = Path(__file__).with_name("train_worker.py")
MODEL = ModelConfig(
    vocabulary_size=20, width=16, layers=2, heads=4, key_value_heads=2, feed_forward_width=32, dropout=0.1
)
CONFIG = TrainConfig(
    steps=40,
    batch_rows=4,
    micro_batch_rows=1,
    sequence_length=24,
    learning_rate=0.02,
    warmup_steps=4,
    average_decay=0.9,
    seed=3,
    device="cpu",
    log_every=1,
    evaluate_every=10,
    checkpoint_every=6,
    tensorboard=False,
)


def counting_examples(part: range) -> list[Example]:
    """Sequences that count upwards from a random start: easy enough to learn in a few steps."""
    examples = []
    for number in part:
        generator = np.random.default_rng(number)
        length = int(generator.integers(4, 20))
        ids = ((np.arange(length) + generator.integers(20)) % 20).astype(np.int32)
        examples.append(Example(f"e{number}", ids, np.arange(length) >= 2))
    return examples


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, [range(start, start + 16) for start in range(0, 96, 16)], counting_examples)
    return folder


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held_out")
    write_shards(folder, [range(1000, 1030)], counting_examples)
    return folder


def fresh_model(config: ModelConfig = MODEL) -> Decoder:
    model = Decoder(config)
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def run(folder: Path, shards: Path, config: TrainConfig = CONFIG, held_out: Path | None = None) -> TrainResult:
    return train(
        fresh_model(), causal_objective, config, folder, ShardSet(shards), ShardSet(held_out) if held_out else None
    )


def start_worker(
    shards: Path, held_out: Path, *runs: tuple[Path, TrainConfig], processes: int = 0, model: ModelConfig = MODEL
) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    arguments = [part for folder, config in runs for part in (str(folder), json.dumps(asdict(config)))]
    return subprocess.Popen(
        [sys.executable, *launcher, str(WORKER), str(shards), str(held_out), json.dumps(asdict(model)), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(worker: subprocess.Popen[str]) -> str:
    _, errors = worker.communicate(timeout=240)
    assert worker.returncode == 0, errors
    return errors


def reports(folder: Path) -> list[dict[str, float]]:
    """The diary without the one figure that depends on the clock."""
    return [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in read_metrics(folder)]


def state_hashes(folder: Path) -> dict[str, str]:
    parts = read_checkpoint(find_checkpoints(folder)[-1]).parts
    return {name: hash_tensors(tensors) for name, tensors in parts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(
    shards: Path, held_out: Path, tmp_path: Path, optimizer: Literal["adamw", "muon"]
) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    reference = start_worker(shards, held_out, (tmp_path / "through", config))
    killed, chance, kills = tmp_path / "killed", random.Random(), 0
    for bound in (0, 12, 24):
        target = bound + chance.randint(1, 12)
        worker = start_worker(shards, held_out, (killed, config))
        while worker.poll() is None and (not read_metrics(killed) or read_metrics(killed)[-1]["step"] < target):
            time.sleep(0.002)
        worker.kill()
        worker.communicate()
        kills += worker.returncode == -signal.SIGKILL
    assert kills == 3
    finish(start_worker(shards, held_out, (killed, config)))
    finish(reference)
    assert [row["step"] for row in reports(killed) if "loss" in row] == list(range(1, 41))
    assert reports(killed) == reports(tmp_path / "through")
    assert state_hashes(killed) == state_hashes(tmp_path / "through")
    assert set(state_hashes(killed)) == {"model", "optimizer", "average"}
    ends = [read_checkpoint(find_checkpoints(tmp_path / name)[-1], parts=()) for name in ("killed", "through")]
    assert ends[0].metadata == ends[1].metadata


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "tolerance"), [("adamw", 2e-5), ("muon", 2e-3)])
def test_two_processes_give_what_one_gives(
    shards: Path, held_out: Path, tmp_path: Path, optimizer: Literal["adamw", "muon"], tolerance: float
) -> None:
    # The two differ in the order in which float32 gradients are added up, and in nothing else: dropout, thinned
    # targets and batches are the same. Measured difference in the loss after 20 steps: below 1e-6 with AdamW; Muon
    # computes its directions in bf16, where such a difference can round another way.
    config = replace(CONFIG, optimizer=optimizer, warmup_steps=0, steps=20, checkpoint_every=10, keep_checkpoints=5)
    spread = replace(config, strategy="fsdp")
    together = start_worker(shards, held_out, (tmp_path / "ddp", config), (tmp_path / "fsdp", spread), processes=2)
    finish(start_worker(shards, held_out, (tmp_path / "one", config)))
    finish(together)
    for name in ("ddp", "fsdp"):
        for two, one in zip(reports(tmp_path / name), reports(tmp_path / "one"), strict=True):
            assert two == pytest.approx(one, rel=tolerance), name
        for part in ("model", "average", "optimizer"):
            two, one = (read_checkpoint(find_checkpoints(tmp_path / n)[-1]).parts[part] for n in (name, "one"))
            assert two.keys() == one.keys()
            for key in one:
                if optimizer == "adamw":
                    torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=1e-5)
                else:
                    # Directions in which the gradient is next to nothing are evened out with the others: there
                    # rounding decides. The losses, above, agree all the same.
                    assert (two[key] - one[key]).norm() <= 0.2 * one[key].norm(), key
    # A checkpoint knows nothing of how many wrote it: one process goes on from the middle of the FSDP2 run.
    last = find_checkpoints(tmp_path / "fsdp")[-1]
    (last / "checkpoint.json").unlink()
    assert read_checkpoint(find_checkpoints(tmp_path / "fsdp")[-1], parts=()).metadata["step"] == 10
    finish(start_worker(shards, held_out, (tmp_path / "fsdp", spread)))
    for resumed, one in zip(reports(tmp_path / "fsdp"), reports(tmp_path / "one"), strict=True):
        assert resumed == pytest.approx(one, rel=tolerance)


@pytest.mark.slow
def test_termination_saves_and_another_process_is_refused(shards: Path, held_out: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=5000, checkpoint_every=0, evaluate_every=0)
    worker = start_worker(shards, held_out, (tmp_path / "run", config))
    while not read_metrics(tmp_path / "run"):
        assert worker.poll() is None
        time.sleep(0.01)
    with pytest.raises(InputError, match="another process is training here"):
        run(tmp_path / "run", shards, config)
    worker.send_signal(signal.SIGTERM)
    finish(worker)
    (saved,) = find_checkpoints(tmp_path / "run")
    step = read_checkpoint(saved, parts=()).metadata["step"]
    assert step == read_metrics(tmp_path / "run")[-1]["step"] < 5000


def test_loss_falls_and_the_model_loads(shards: Path, held_out: Path, tmp_path: Path) -> None:
    result = run(tmp_path, shards, held_out=held_out)
    rows = read_metrics(tmp_path)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert result.finished
    assert result.step == 40
    assert losses[0] == pytest.approx(math.log(20), rel=0.05)
    assert result.held_out_loss is not None
    assert result.held_out_loss < 0.7 * losses[0]
    assert [row["step"] for row in rows if "held_out_loss" in row] == [10, 20, 30, 40]
    assert [path.name for path in find_checkpoints(tmp_path)] == ["step-00000036", "step-00000040"]

    # What was evaluated is what loads: the held-out loss by hand, one document at a time, with the averaged weights.
    model = load_model(result.checkpoint, part="average")
    total, targets = 0.0, 0
    model.requires_grad_(False)
    for example in counting_examples(range(1000, 1030)):
        ids = torch.from_numpy(example.ids).long()
        scores = model(ids[:-1].unsqueeze(0))[0].log_softmax(-1).gather(1, ids[1:].unsqueeze(1))[:, 0]
        wanted = torch.from_numpy(example.loss_mask[1:])
        total, targets = total - float(scores[wanted].sum()), targets + int(wanted.sum())
    assert result.held_out_loss == pytest.approx(total / targets, rel=1e-5)
    assert not torch.equal(load_model(result.checkpoint).norm.weight, model.norm.weight)


def test_finished_run_is_not_repeated(shards: Path, held_out: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, warmup_steps=0, steps=3)
    first = run(tmp_path, shards, config, held_out)
    before = {path: path.stat().st_mtime_ns for path in first.checkpoint.iterdir()}
    assert run(tmp_path, shards, config, held_out) == first
    assert {path: path.stat().st_mtime_ns for path in first.checkpoint.iterdir()} == before


def test_parameters_without_gradients_survive_a_resume(shards: Path, tmp_path: Path) -> None:
    """The data has no conditions, so their table is never touched and AdamW has no memory of it."""
    config, ends = replace(CONFIG, steps=12, warmup_steps=0), []
    for name in ("through", "resumed", "resumed"):
        if (tmp_path / name).exists():
            (find_checkpoints(tmp_path / name)[-1] / "checkpoint.json").unlink()
        model = fresh_model(replace(MODEL, conditions=3))
        train(model, causal_objective, config, tmp_path / name, ShardSet(shards))
        ends.append(hash_tensors(dict(model.named_parameters())))
    assert len(set(ends)) == 1


def test_accumulation_does_not_change_the_result(shards: Path, tmp_path: Path) -> None:
    still = replace(MODEL, dropout=0.0)  # the dropout's seed belongs to the micro-batch
    config = replace(CONFIG, steps=8, evaluate_every=0, checkpoint_every=0)
    for rows in (1, 2, 4):
        train(
            fresh_model(still),
            causal_objective,
            replace(config, micro_batch_rows=rows),
            tmp_path / str(rows),
            ShardSet(shards),
        )
    whole = reports(tmp_path / "4")
    for rows in (1, 2):
        for part, expected in zip(reports(tmp_path / str(rows)), whole, strict=True):
            assert part == pytest.approx(expected, rel=1e-5)


def test_first_step_is_adamw_on_the_mean_loss(shards: Path, tmp_path: Path) -> None:
    """One step by hand with torch's own pieces: mean over the targets of all rows, norm clipped, matrices decayed."""
    config = replace(CONFIG, steps=1, warmup_steps=0, clip_norm=0.05, evaluate_every=0)
    still = replace(MODEL, dropout=0.0)
    batches: list[Batch] = []

    def remember(model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        batches.append(batch)
        return causal_objective(model, batch, generator)

    trained, model = fresh_model(still), fresh_model(still)
    train(trained, remember, config, tmp_path, ShardSet(shards))
    total, targets = torch.zeros(()), 0.0
    for batch in batches:
        logits = model(batch.ids, positions=batch.positions, segments=batch.segments)
        chosen = (batch.weights > 0) & (batch.targets != ABSENT)
        total = total + nn.functional.cross_entropy(logits[chosen], batch.targets[chosen], reduction="sum")
        targets += float(chosen.sum())
    assert len(batches) == 4
    (total / targets).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.05)
    for parameter in model.parameters():
        rate = 0.02 * 0.1  # the last step of the cosine
        decayed = parameter.detach() * (1 - rate * (0.1 if parameter.dim() == 2 else 0.0))
        assert parameter.grad is not None
        # On Adam's first step both moments are the gradient's own after bias correction.
        parameter.data = decayed - rate * parameter.grad / (parameter.grad.abs() + 1e-8)
    for name, value in model.named_parameters():
        torch.testing.assert_close(dict(trained.named_parameters())[name], value, rtol=1e-4, atol=2e-6)


def test_bf16_learns_too(shards: Path, held_out: Path, tmp_path: Path) -> None:
    result = run(tmp_path, shards, replace(CONFIG, precision="bf16", steps=30), held_out)
    assert result.held_out_loss is not None
    assert result.held_out_loss < 0.8 * math.log(20)
    assert load_model(result.checkpoint).norm.weight.dtype == torch.float32


def test_stages_and_codebooks_train_in_the_same_loop(tmp_path: Path) -> None:
    """VALL-E's NAR: one random level a row, the lower levels as input, the chosen one as target."""
    codes = np.random.default_rng(0).integers(0, 8, size=(12, 10, 3)).astype(np.int32)
    codes += np.arange(3, dtype=np.int32) * 8
    examples = [Example(f"e{n}", item, np.arange(10) >= 3) for n, item in enumerate(codes)]
    write_shards(tmp_path / "s", [examples], lambda part: part, codebooks=3)
    stages_seen: list[int] = []

    def levels(model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        stage = torch.randint(1, 3, (len(batch.ids),), generator=generator)
        stages_seen.extend(stage.tolist())
        visible = torch.arange(3) < stage[:, None, None]
        logits = model(
            batch.ids.where(visible | (batch.weights == 0).unsqueeze(-1), ABSENT),
            positions=batch.positions,
            segments=batch.segments,
            stage=stage - 1,
        )
        targets = batch.targets.gather(2, stage[:, None, None].expand(-1, batch.targets.shape[1], 1))[..., 0]
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=ABSENT)
        return (losses * batch.weights).sum(), batch.weights.sum()

    model = fresh_model(replace(MODEL, vocabulary_size=24, causal=False, stages=2))
    config = replace(CONFIG, warmup_steps=0, steps=25, shifted=False, micro_batch_rows=2, evaluate_every=0)
    train(model, levels, config, tmp_path / "run", ShardSet(tmp_path / "s"))
    losses = [row["loss"] for row in read_metrics(tmp_path / "run")]
    assert set(stages_seen) == {1, 2}
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_callers_random_state_is_left_alone(shards: Path, tmp_path: Path) -> None:
    model = fresh_model()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(model, causal_objective, replace(CONFIG, warmup_steps=0, steps=2), tmp_path, ShardSet(shards))
    assert torch.equal(torch.rand(3), expected)


def test_run_folder_says_what_was_asked_for(shards: Path, held_out: Path, tmp_path: Path) -> None:
    run(tmp_path, shards, replace(CONFIG, warmup_steps=0, steps=1), held_out)
    record = json.loads((tmp_path / "run.json").read_text())
    assert parse_settings(TrainConfig, record["train"], "run.json") == replace(CONFIG, warmup_steps=0, steps=1)
    assert record["model"]["width"] == 16
    assert record["versions"]["torch"] == importlib.metadata.version("torch")
    assert record["data"] == {"train": ShardSet(shards).digest, "held_out": ShardSet(held_out).digest}


def test_continuing_with_other_settings_is_refused(shards: Path, held_out: Path, tmp_path: Path) -> None:
    run(tmp_path, shards, replace(CONFIG, warmup_steps=0, steps=2))
    run(tmp_path, shards, replace(CONFIG, warmup_steps=0, steps=2, log_every=5))
    for changed, message in (
        (lambda: run(tmp_path, shards, replace(CONFIG, warmup_steps=0, steps=3)), r"train.steps = 2, not 3"),
        (lambda: run(tmp_path, held_out, replace(CONFIG, warmup_steps=0, steps=2)), r"data.train"),
        (
            lambda: train(
                fresh_model(replace(MODEL, layers=1)),
                causal_objective,
                replace(CONFIG, warmup_steps=0, steps=2),
                tmp_path,
                ShardSet(shards),
            ),
            r"model.layers = 2, not 1",
        ),
    ):
        with pytest.raises(InputError, match=message):
            changed()


def test_a_run_may_become_shorter_or_longer_until_its_rate_falls(shards: Path, tmp_path: Path) -> None:
    short = replace(CONFIG, schedule="wsd", steps=16, decay_steps=6, checkpoint_every=10, keep_checkpoints=9)
    expected = run(tmp_path / "short", shards, short)
    long, folder = replace(short, steps=30, decay_steps=10), tmp_path / "long"
    expected_long = tmp_path / "kept"
    shutil.copytree(run(folder, shards, long).checkpoint, expected_long)
    # As if it had been killed after ten steps.
    first, *later = find_checkpoints(folder)
    assert step_of(first) == 10
    for checkpoint in later:
        shutil.rmtree(checkpoint)
    result = run(folder, shards, short)
    assert (result.step, result.finished) == (16, True)
    one, other = (load_model(done.checkpoint).state_dict() for done in (expected, result))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert json.loads((folder / "run.json").read_text())["train"] == asdict(short)
    # The other way round.
    grown = tmp_path / "grown"
    run(grown, shards, short)
    shutil.rmtree(find_checkpoints(grown)[-1])
    longer = run(grown, shards, long)
    one, other = (read_checkpoint(folder).parts["model"] for folder in (expected_long, longer.checkpoint))
    assert hash_tensors(one) == hash_tensors(other)
    # Its rate has fallen: what it was trained on so far depends on its length.
    with pytest.raises(InputError, match=r"train.steps = 16, not 30"):
        run(folder, shards, long)


def test_locked_folder_is_refused(shards: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another process"):
        run(tmp_path, shards)
    assert not (tmp_path / "run.json").exists()


def test_diverged_loss_stops_before_the_weights_are_touched(shards: Path, tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        loss, weight = causal_objective(model, batch, generator)
        return loss * math.nan, weight

    model = fresh_model()
    before = hash_tensors(dict(model.named_parameters()))
    with pytest.raises(DivergedError, match="step 1: loss nan"):
        train(model, broken, CONFIG, tmp_path, ShardSet(shards))
    assert hash_tensors(dict(model.named_parameters())) == before
    assert not find_checkpoints(tmp_path)


def test_data_without_targets_is_refused(tmp_path: Path) -> None:
    example = Example("e", np.arange(5, dtype=np.int32), np.zeros(5, np.bool_))
    write_shards(tmp_path / "s", [[example]], lambda part: part)
    with pytest.raises(InputError, match="no targets"):
        run(tmp_path / "run", tmp_path / "s")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1.0}, "unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number above 0"),
        ({"learning_rate": math.inf}, "learning_rate must be a number above 0"),
        ({"average_decay": 1.0}, "average_decay"),
        ({"schedule": "linear"}, "schedule must be one of 'cosine', 'wsd', 'constant'"),
        ({"micro_batch_rows": 3}, "multiple"),
        ({"warmup_steps": 41}, "more than the 40 steps"),
    ],
)
def test_train_config_is_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(TrainConfig, {**asdict(CONFIG), **changes}, "train.json")


def test_schedules_have_their_shapes() -> None:
    def course(schedule: str) -> list[float]:
        return [
            learning_rate_factor(
                step,
                schedule=schedule,
                steps=100,
                warmup_steps=10,
                decay_steps=25,
                final_factor=0.2,  # type: ignore[arg-type]
            )
            for step in range(1, 101)
        ]

    for schedule in ("cosine", "wsd", "constant"):
        assert course(schedule)[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert course("cosine")[54] == pytest.approx(0.6)
    assert course("cosine")[-1] == course("wsd")[-1] == pytest.approx(0.2)
    assert course("wsd")[10:75] == course("constant")[10:75] == [1.0] * 65
    assert course("wsd")[75] == pytest.approx(0.2 + 0.8 * (1 - math.sqrt(1 / 25)))
    assert course("constant")[-1] == 1.0
    for schedule in ("cosine", "wsd"):
        assert sorted(course(schedule)[10:], reverse=True) == course(schedule)[10:]


def test_average_follows_and_swaps() -> None:
    weight = nn.Parameter(torch.zeros(2))
    average = WeightAverage({"w": weight}, decay=0.9)
    weight.data.fill_(1.0)
    average.update(1)  # early: decay (1 + 1) / (10 + 1)
    assert average.tensors["w"].tolist() == pytest.approx([9 / 11] * 2)
    average.update(1000)
    assert average.tensors["w"].tolist() == pytest.approx([0.9 * 9 / 11 + 0.1] * 2)
    with average.in_place_of_weights():
        assert weight.tolist() == pytest.approx([0.9 * 9 / 11 + 0.1] * 2)
    assert weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_only_matrices_decay(name: Literal["adamw", "muon"]) -> None:
    parameters = dict(fresh_model().named_parameters())
    optimizers = Optimizers(parameters, name, weight_decay=0.3, betas=(0.9, 0.95), device=torch.device("cpu"))
    seen = [parameter for group in optimizers.groups for parameter in cast("list[Tensor]", group["params"])]
    assert sorted(map(id, seen)) == sorted(map(id, parameters.values()))
    for group in optimizers.groups:
        for parameter in cast("list[Tensor]", group["params"]):
            assert group["weight_decay"] == (0.3 if parameter.dim() == 2 else 0.0)


def test_muon_steps_alike_in_all_directions() -> None:
    model = fresh_model()
    parameters = dict(model.named_parameters())
    before = {name: value.detach().clone() for name, value in parameters.items()}
    generator = torch.Generator().manual_seed(0)
    for value in parameters.values():
        value.grad = torch.randn(value.shape, generator=generator)
    Optimizers(parameters, "muon", weight_decay=0.0, betas=(0.9, 0.95), device=torch.device("cpu")).step(1e-3)
    for name, value in parameters.items():
        change = value.detach() - before[name]
        if name.startswith("layers.") and value.dim() == 2:
            # Newton-Schulz leaves singular values between about 0.7 and 1.2; a gradient's own spread is far wider.
            singular = torch.linalg.svdvals(change)
            assert singular.max() / singular.min() < 2.0
            # arXiv 2502.16982: root mean square 0.2 of the learning rate.
            assert change.square().mean().sqrt().item() == pytest.approx(2e-4, rel=0.25)
        else:
            assert change.abs().mean().item() == pytest.approx(1e-3, rel=0.01)  # AdamW's first step is the sign


def test_diary_forgets_what_was_lost(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, step=0, tensorboard=True)
    for step in range(1, 6):
        log.write(step, {"loss": 1.0 / step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "lo')  # killed while writing
    assert len(read_metrics(tmp_path)) == 5
    log = MetricsLog(tmp_path, step=3, tensorboard=False)
    log.write(4, {"loss": 0.5})
    log.close()
    assert read_metrics(tmp_path) == [{"step": step, "loss": 1.0 / step} for step in (1, 2, 3)] + [
        {"step": 4, "loss": 0.5}
    ]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5]
