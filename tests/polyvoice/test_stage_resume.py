"""`polyvoice train translate` as a user's machines treat it: killed, begun again, and spread over two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyvoice.cli.main import run
from unitlm.checkpoint import hash_tensors, load_model
from unitlm.metrics import read_metrics

OPTIONS = ["--preset", "tiny", "--pieces", "300", "--passes", "1", "--device", "cpu", "--precision", "fp32"]
OPTIONS += ["--steps", "24", "--batch-rows", "4", "--micro-batch-rows", "2", "--sequence-length", "128"]
OPTIONS += ["--checkpoint-every", "4", "--log-every", "1", "--evaluate-every", "8", "--dropout", "0.1"]


def arguments(corpus: tuple[Path, Path], out: Path) -> list[str]:
    return ["train", "translate", *map(str, corpus), str(out), *OPTIONS]


def start(corpus: tuple[Path, Path], out: Path, *launcher: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "polyvoice.cli.main", *arguments(corpus, out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reports(out: Path) -> list[dict[str, float]]:
    """The diary without the one figure that depends on the clock."""
    rows = read_metrics(out / "train")
    return [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in rows]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_killed_or_spread_over_two_processes_the_losses_are_the_same(
    toy_corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    one, killed, two = tmp_path / "one", tmp_path / "killed", tmp_path / "two"
    victim = start(toy_corpus, killed)
    while victim.poll() is None and len(read_metrics(killed / "train")) < 7:
        time.sleep(0.002)
    victim.kill()
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    together = start(toy_corpus, two, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert run(arguments(toy_corpus, killed)) == 0
    assert run(arguments(toy_corpus, one)) == 0
    assert [row["step"] for row in reports(one) if "loss" in row] == list(range(1, 25))
    assert reports(killed) == reports(one)
    weights = [hash_tensors(dict(load_model(out / "model").named_parameters())) for out in (one, killed)]
    assert weights[0] == weights[1]
    # Both of the two processes come to prepare the run; their losses differ by the order of sums only.
    output, errors = together.communicate(timeout=300)
    assert together.returncode == 0, errors
    assert str(two / "model") in output
    for spread, alone in zip(reports(two), reports(one), strict=True):
        assert spread == pytest.approx(alone, rel=1e-4)
