"""Decoding speed of packed decoders beside transformers and CTranslate2: same weights, same prompts, same process.

    python shared/benchmarks/decoding_speed.py --sizes small --precisions fp32 int8 --rounds 3

Contenders take turns within a round (A B C A B C ...), so that whatever else the machine does hits all of them; a ratio
is that of two neighbours in one round. All have the same number of threads. Weights are random and greedy choices
forced to a given number of tokens. What a peer has no form for is compared with its best other form: CTranslate2 has no
bf16 on most processors, transformers no 8 bits on a CPU.

Needs the packages transformers and ctranslate2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from unitlm.drafts import generate_with_drafts
from unitlm.engine.decoder import PackedDecoder
from unitlm.generate import generate
from unitlm.language_model import Precision
from unitlm.llama import export_llama
from unitlm.model import Decoder, ModelConfig
from unitlm.sampling import Choices

PROMPT = 128
"""Tokens of the longest prompt; the rows of a batch have between half of them and all."""
TOKENS = {1: 128, 16: 48}
"""Written by each row, by the size of the batch."""
DRAFT_TARGET = 2.5
"""How much faster a draft that is all right has to make it."""
TARGETS = {("transformers", 1): 2.0, ("ctranslate2", 1): 1.0, ("transformers", 16): 1.5, ("ctranslate2", 16): 1.5}
PEER_TYPES = {"fp32": ("float32", torch.float32), "bf16": ("float32", torch.bfloat16), "int8": ("int8", torch.float32)}
"""What the peers compute with beside each precision: CTranslate2's type and transformers'."""

Run = Callable[[], list[list[int]]]


@dataclass(frozen=True)
class Size:
    """A shape of decoder, and what it is called here."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int

    def decoder(self) -> Decoder:
        """A decoder with random weights, large enough that choices are clear-cut."""
        config = ModelConfig(self.vocabulary, self.width, self.layers, self.heads, self.heads, self.feed_forward)
        model = Decoder(config).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(std=1.0 / parameter.shape[1] ** 0.5, generator=generator)
        return model


SIZES = {
    "small": Size(1024, 256, 8, 4, 680),
    "medium": Size(4096, 512, 12, 8, 1408),
    "large": Size(8192, 1024, 12, 16, 2736),
}


@dataclass(frozen=True)
class Row:
    """One comparison; speeds in tokens a second, ratios of ours to the peer's by round."""

    name: str
    peer: str
    size: str
    ours: float
    theirs: float
    ratio_min: float
    ratio_median: float
    ratio_max: float
    target: float | None
    met: bool | None
    same_rows: float
    note: str
    versions: dict[str, str]

    def tell(self) -> str:
        """As a line of text."""
        wanted = "" if self.target is None else f" (target {self.target}, {'met' if self.met else 'MISSED'})"
        return (
            f"{self.name:38} {self.size:20} {self.ours:7.0f} tok/s; {self.peer:22} {self.theirs:6.0f} tok/s; "
            f"ratio {self.ratio_min:.2f} {self.ratio_median:.2f} {self.ratio_max:.2f}{wanted}; "
            f"same rows {self.same_rows:.0%}; {self.note}"
        )


@dataclass(frozen=True)
class Timed:
    """Seconds of each round by contender, what each wrote, and how many tokens that is."""

    seconds: dict[str, list[float]]
    written: dict[str, list[list[int]]]
    tokens: int

    def row(self, name: str, peer: str, size: str, target: float | None, note: str) -> Row:
        """Ours, which is `unitlm`, beside a peer."""
        ours, theirs = self.seconds["unitlm"], self.seconds[peer]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        pairs = zip(self.written["unitlm"], self.written[peer], strict=True)
        median = statistics.median(ratios)
        return Row(
            name=name,
            peer=peer,
            size=size,
            ours=self.tokens / statistics.median(ours),
            theirs=self.tokens / statistics.median(theirs),
            ratio_min=min(ratios),
            ratio_median=median,
            ratio_max=max(ratios),
            target=target,
            met=None if target is None else median >= target,
            same_rows=statistics.mean(a == b for a, b in pairs),
            note=note,
            versions={package: version(package) for package in ("torch", "numba", "transformers", "ctranslate2")},
        )


class Peers:
    """The same weights in transformers and in CTranslate2."""

    def __init__(self, model: Decoder, folder: Path, threads: int) -> None:
        """Export the model and convert it."""
        # An encoder-decoder of audio is no need here, and torchaudio's wheel does not load beside a torch for CPUs.
        sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]
        from ctranslate2.converters import TransformersConverter
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._llama, self._converted, self._threads = folder / "llama", folder / "ctranslate2", threads
        names = [f"t{index}" for index in range(model.config.vocabulary_size)]
        export_llama(model, self._llama, maximum_length=2048, begin=0, end=1, token_names=names)
        TransformersConverter(str(self._llama)).convert(str(self._converted))

    def transformers(self, kind: torch.dtype, prompts: Sequence[Sequence[int]], tokens: int) -> Run:
        """Transformers' generate, with prompts padded on the left."""
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self._llama, dtype=kind).eval()
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])

        def run() -> list[list[int]]:
            with torch.inference_mode():
                output = model.generate(
                    ids,
                    attention_mask=mask,
                    do_sample=False,
                    min_new_tokens=tokens,
                    max_new_tokens=tokens,
                    pad_token_id=0,
                )
            return output[:, longest:].tolist()  # type: ignore[no-any-return]

        return run

    def ctranslate2(self, kind: str, prompts: Sequence[Sequence[int]], tokens: int) -> Run:
        """CTranslate2's generator, with all rows in one batch."""
        import ctranslate2

        generator = ctranslate2.Generator(
            str(self._converted), compute_type=kind, inter_threads=1, intra_threads=self._threads
        )
        names = [[f"t{index}" for index in prompt] for prompt in prompts]

        def run() -> list[list[int]]:
            output = generator.generate_batch(
                names,
                max_length=tokens,
                min_length=tokens,
                end_token=[],
                sampling_topk=1,
                include_prompt_in_result=False,
            )
            return [row.sequences_ids[0] for row in output]

        return run


def ours(model: Decoder, precision: Precision, prompts: Sequence[Sequence[int]], tokens: int) -> Run:
    """The packed decoder."""
    packed, choices = PackedDecoder(model, precision), Choices(0, model.config.vocabulary_size, end=None)

    def run() -> list[list[int]]:
        return [list(row.ids) for row in generate(packed, prompts, choices, lengths=[tokens] * len(prompts))]

    return run


def measure(contenders: dict[str, Run], rounds: int, clock: Callable[[], float]) -> Timed:
    """Let contenders run in turn; one more round, the first, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    written: dict[str, list[list[int]]] = {}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            started = clock()
            written[name] = run()
            seconds[name].append(clock() - started)
    counted = {name: taken[1:] for name, taken in seconds.items()}
    return Timed(counted, written, sum(map(len, written["unitlm"])))


def read_bandwidth(clock: Callable[[], float]) -> float:
    """Bytes a second that torch reads when it sums 256 MB, at its best."""
    numbers, best = torch.zeros(64 * 2**20), 0.0
    for _ in range(8):
        started = clock()
        numbers.sum()
        best = max(best, 4 * numbers.numel() / (clock() - started))
    return best


def compare(arguments: argparse.Namespace, clock: Callable[[], float]) -> Iterator[Row]:
    """All comparisons that were asked for."""
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        bandwidth = read_bandwidth(clock)
        for size in arguments.sizes:
            model = SIZES[size].decoder()
            for precision in arguments.precisions:
                for batch in arguments.batches:
                    yield from compare_peers(model, precision, batch, bandwidth, arguments, clock)
                if arguments.drafts and threads == 1:
                    yield from compare_drafts(model, precision, arguments, clock)


def compare_peers(
    model: Decoder,
    precision: Precision,
    batch: int,
    bandwidth: float,
    arguments: argparse.Namespace,
    clock: Callable[[], float],
) -> Iterator[Row]:
    """Ours beside both peers."""
    threads = torch.get_num_threads()
    theirs, kind = PEER_TYPES[precision]
    prompts = make_prompts(model.config.vocabulary_size, batch)
    tokens = arguments.tokens or TOKENS.get(batch, 64)
    with tempfile.TemporaryDirectory() as folder:
        peers = Peers(model, Path(folder), threads)
        contenders = {
            "unitlm": ours(model, precision, prompts, tokens),
            "transformers": peers.transformers(kind, prompts, tokens),
            "ctranslate2": peers.ctranslate2(theirs, prompts, tokens),
        }
        timed = measure(contenders, arguments.rounds, clock)
    # Each step reads all weights of the layers and of the head; of the embedding one row.
    weights = count_weights(model) * {"fp32": 4, "bf16": 2, "int8": 1}[precision]
    steps = timed.tokens / batch / statistics.median(timed.seconds["unitlm"])
    read = f"{steps * weights / bandwidth:.0%} of the {bandwidth / 1e9:.0f} GB/s that torch reads"
    name = f"{precision} batch {batch}" + ("" if threads == 1 else f" {threads} threads")
    for peer in ("transformers", "ctranslate2"):
        yield timed.row(name, peer, tell_size(model), TARGETS.get((peer, batch)), read)


def compare_drafts(
    model: Decoder, precision: Precision, arguments: argparse.Namespace, clock: Callable[[], float]
) -> Iterator[Row]:
    """How much faster a draft makes plain decoding, by how much of it is right."""
    vocabulary = model.config.vocabulary_size
    packed, choices = PackedDecoder(model, precision), Choices(2, vocabulary, end=1)
    prompt, tokens = make_prompts(vocabulary, 1)[0], arguments.tokens or TOKENS[1]
    plain = list(generate(packed, [prompt], choices, limit=tokens)[0].ids)
    for share in (1.0, 0.9, 0.5, 0.0):
        wrong = round(1 / (1 - share)) if share < 1 else len(plain) + 1
        draft = [2 if index % wrong == wrong - 1 else unit for index, unit in enumerate(plain)]

        def drafted(draft: list[int] = draft) -> list[list[int]]:
            return [list(generate_with_drafts(packed, prompt, choices, [draft], limit=tokens).continuation.ids)]

        contenders = {
            "unitlm": drafted,
            "unitlm without drafts": lambda: [list(generate(packed, [prompt], choices, limit=tokens)[0].ids)],
        }
        timed = measure(contenders, arguments.rounds, clock)
        target = DRAFT_TARGET if share == 1 else None
        note = f"every {wrong}th unit of the draft is wrong" if share < 1 else "the draft is right"
        name = f"draft {share:.0%} right {precision}"
        yield timed.row(name, "unitlm without drafts", tell_size(model), target, note)


def count_weights(model: Decoder) -> int:
    """Of the layers and of the head."""
    return sum(parameter.numel() for parameter in model.parameters()) - model.embedding.weight.numel()


def tell_size(model: Decoder) -> str:
    """All parameters, for people."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M parameters"


def make_prompts(vocabulary: int, batch: int) -> list[list[int]]:
    """Random prompts; in a batch of different lengths."""
    generator = torch.Generator().manual_seed(1)
    lengths = [PROMPT] if batch == 1 else torch.linspace(PROMPT // 2, PROMPT, batch).int().tolist()
    return [torch.randint(2, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", choices=PEER_TYPES, default=list(PEER_TYPES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="of all contenders")
    parser.add_argument("--tokens", type=int, help="written by each row; 128 if it is alone, 48 of 16 by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drafts", action="store_true", help="compare drafts with plain decoding as well")
    parser.add_argument(
        "--clock",
        choices=["wall", "processor"],
        default="wall",
        help="processor: seconds of processor time, where other programs share the core; for one thread",
    )
    parser.add_argument("--json", type=Path, help="also write the rows there, one JSON object a line")
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(arguments.json.open("w")) if arguments.json else None
        for row in compare(arguments, clock):
            print(row.tell(), flush=True)
            if output is not None:
                print(json.dumps(asdict(row)), file=output, flush=True)


if __name__ == "__main__":
    main()
