"""Times training on a CPU beside transformers' Trainer: the same Llama, the same documents, the same precision.

    python training_speed.py [--threads 1] [--rounds 3] [--steps 6] [--json rows.json] [--compile ours|none|both]

Each side runs in a process of its own, in turn (ours, theirs, ours, theirs, ...), and reports tokens per second of
processor time over its last steps, and its peak memory. `ours` packs whole documents that do not see each other, as
`unitlm.train` does; theirs concatenates them and cuts rows, the usual way to pre-train with the Trainer, which has no
mask to apply. Both learn every next id, with AdamW and no dropout. A long run of ours compiles its blocks, so by
default it does here; theirs does not unless asked (`both`). Needs `transformers` and `accelerate`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlm import compilation
from unitlm.data import Batch
from unitlm.model import ABSENT, Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.precision import choose_precision
from unitlm.shards import Example, ShardSet, write_shard
from unitlm.train import train
from unitlm.train_config import TrainConfig

MODEL = ModelConfig(4_608, width=384, layers=8, heads=6, key_value_heads=6, feed_forward_width=1_024)
ROWS, LENGTH = 8, 512
WARM_UP = 2
RATE = 1e-3
TARGET = 1.3
PEER = "transformers Trainer"
PRECISION = choose_precision("auto", "cpu")
"""Of both sides: bf16 only where the processor multiplies it by itself."""


@dataclass(frozen=True)
class Row:
    """A line of results: how many times as many tokens a second as the peer's."""

    name: str
    peer: str
    size: str
    ratio_min: float
    ratio_median: float
    ratio_max: float
    target: float
    met: bool
    versions: dict[str, str]
    note: str


class Clock:
    """Processor time and tokens of the steps after the warm-up."""

    def __init__(self) -> None:
        self._steps = 0
        self._tokens = 0
        self._start = 0.0

    def step(self, tokens: int) -> None:
        """Say that a step begins, and how many tokens it takes."""
        self._steps += 1
        if self._steps == WARM_UP + 1:
            self._start = time.process_time()
        if self._steps > WARM_UP:
            self._tokens += tokens

    def tokens_per_second(self) -> float:
        """Call it when the last step is done."""
        return self._tokens / (time.process_time() - self._start)


def documents(steps: int) -> Iterator[Example]:
    """Documents of 5 to 500 tokens, more than enough for `steps` batches."""
    generator = np.random.default_rng(0)
    for number in range(steps * ROWS * LENGTH // 60):
        length = int(np.clip(generator.lognormal(4.6, 0.9), 5, 500))
        ids = generator.zipf(1.3, length) % MODEL.vocabulary_size
        yield Example(str(number), ids.astype(np.int32), np.arange(length) > 0)


def run_ours(steps: int, folder: Path, *, compiled: bool) -> float:
    """Tokens per second of `unitlm.train`."""
    write_shard(folder / "documents.parquet", documents(steps))
    compilation.LEAST_WORK["cpu"] = 0.0 if compiled else float("inf")
    clock = Clock()

    def objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clock.step(int((batch.segments != ABSENT).sum()))
        return causal_objective(model, batch, generator)

    config = TrainConfig(
        steps=steps,
        batch_rows=ROWS,
        micro_batch_rows=ROWS,
        sequence_length=LENGTH,
        learning_rate=RATE,
        precision=PRECISION,
        device="cpu",
        tensorboard=False,
    )
    train(Decoder(MODEL), objective, config, folder / "run", ShardSet(folder / "documents.parquet"))
    return clock.tokens_per_second()


def run_theirs(steps: int, folder: Path, *, compiled: bool) -> float:
    """Tokens per second of `transformers.Trainer`."""
    # No audio is trained on here, and torchaudio's wheel does not load beside a torch for CPUs.
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    clock = Clock()

    class StepClock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            clock.step(ROWS * LENGTH)

    ids = np.concatenate([document.ids for document in documents(steps)]).astype(np.int64)
    rows = torch.from_numpy(ids[: len(ids) // LENGTH * LENGTH]).view(-1, LENGTH)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=MODEL.vocabulary_size,
            hidden_size=MODEL.width,
            num_hidden_layers=MODEL.layers,
            num_attention_heads=MODEL.heads,
            num_key_value_heads=MODEL.key_value_heads,
            intermediate_size=MODEL.feed_forward_width,
            tie_word_embeddings=MODEL.tied,
            use_cache=False,
        )
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=ROWS,
        learning_rate=RATE,
        bf16=PRECISION == "bf16",
        use_cpu=True,
        torch_compile=compiled,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    data: Any = [{"input_ids": row, "labels": row} for row in rows]
    Trainer(model, arguments, train_dataset=data, callbacks=[StepClock()]).train()
    return clock.tokens_per_second()


def run_side(side: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Run one side in a process of its own: tokens per second, and peak memory in MB."""
    options = ["--threads", str(arguments.threads), "--steps", str(arguments.steps), "--compile", arguments.compile]
    command = [sys.executable, __file__, "--side", side, *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    speed, memory = json.loads(output.splitlines()[-1])
    return speed, memory


def compare(arguments: argparse.Namespace) -> Row:
    """Let the two sides take turns."""
    ratios = []
    for number in range(arguments.rounds):
        (ours, our_memory), (theirs, their_memory) = (run_side(side, arguments) for side in ("ours", "theirs"))
        ratios.append(ours / theirs)
        print(
            f"round {number + 1}: unitlm {ours:,.0f} tokens/s, {our_memory:,.0f} MB;  {PEER} {theirs:,.0f} tokens/s, "
            f"{their_memory:,.0f} MB;  ratio {ratios[-1]:.2f}",
            flush=True,
        )
    median = statistics.median(ratios)
    print(f"ratio: least {min(ratios):.2f}, median {median:.2f}, most {max(ratios):.2f} (target {TARGET})")
    millions = sum(value.numel() for value in Decoder(MODEL).parameters()) / 1e6
    size = f"{millions:.1f} M parameters"
    threads = "one thread" if arguments.threads == 1 else f"{arguments.threads} threads"
    note = f"{ROWS} rows of {LENGTH} tokens, {PRECISION}, {threads}"
    versions = {name: importlib.metadata.version(name) for name in ("unitlm", "torch", "transformers", "accelerate")}
    name = f"training, tokens per second of processor time (compiled: {arguments.compile})"
    return Row(name, PEER, size, min(ratios), median, max(ratios), TARGET, median >= TARGET, versions, note)


def main() -> None:
    """Compare, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="steps that are timed")
    parser.add_argument("--compile", choices=("ours", "none", "both"), default="ours")
    parser.add_argument("--json", type=Path, help="write the rows of results here")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side is None:
        row = compare(arguments)
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(row)], indent=1) + "\n", encoding="utf-8")
        return
    logging.disable(logging.INFO)
    compiled = arguments.compile in (arguments.side, "both")
    run = run_ours if arguments.side == "ours" else run_theirs
    with tempfile.TemporaryDirectory() as folder:
        speed = run(WARM_UP + arguments.steps, Path(folder), compiled=compiled)
    # Kilobytes on Linux, bytes on macOS.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps([speed, memory]))


if __name__ == "__main__":
    main()
