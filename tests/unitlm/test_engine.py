"""Packed decoders: the same numbers and choices as the decoder they were made from, in all shapes and precisions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from copy import deepcopy
from multiprocessing import get_context

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unitlm import language_model
from unitlm.adapt import LoraConfig, PromptConfig, add_lora, add_prompt, prompt_ids
from unitlm.aligned import AlignedLine, generate_aligned
from unitlm.beam import beam_search
from unitlm.cache import KeyValueCache
from unitlm.drafts import generate_with_drafts
from unitlm.engine import team, tiles
from unitlm.engine.choosing import choose_columns
from unitlm.engine.decoder import PackedDecoder, make_scratch
from unitlm.engine.kernels import pair_columns
from unitlm.engine.packing import Matrix, pack
from unitlm.errors import InputError
from unitlm.generate import Continuation, generate, prefill
from unitlm.language_model import LanguageModel, Precision, pack_decoder
from unitlm.model import ABSENT, Decoder
from unitlm.sampling import Choices, Sampling, choose
from unitlm.scoring import score_continuations

CHOICES = Choices(start=5, stop=40, end=1)
PROMPTS = [[7, 3, 20, 9], [12], [30, 31, 32, 33, 34, 35, 36], [4, 4]]
PRECISIONS: list[Precision] = ["fp32", "bf16", "int8"]
PROJECTIONS = ("query_key_value", "output", "gate_up", "down", "head")


def same(ours: Sequence[Continuation], theirs: Sequence[Continuation]) -> bool:
    return [(row.ids, row.ended) for row in ours] == [(row.ids, row.ended) for row in theirs] and np.allclose(
        [row.log_probability for row in ours], [row.log_probability for row in theirs], atol=1e-3
    )


def read(
    model: LanguageModel,
    ids: torch.Tensor,
    chunks: Sequence[int],
    choices: Choices,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Logits [B, S, N] of ids [B, S] that are read in chunks."""
    cache = KeyValueCache(model.config, len(ids), ids.shape[1], dtype=dtype)
    scores, start = [], 0
    with torch.inference_mode():
        for steps in chunks:
            hidden = model.transform(model.embed(ids[:, start : start + steps]), cache=cache)
            cache.advance(steps)
            scores.append(choices.scorer(model)(hidden))
            start += steps
    return torch.cat(scores, dim=1)


@given(
    head_width=st.sampled_from([2, 8, 16, 24, 64, 80]),
    groups=st.integers(1, 2),
    in_group=st.integers(1, 3),
    inner=st.integers(1, 130),
    layers=st.integers(1, 3),
    vocabulary=st.integers(45, 140),
    tied=st.booleans(),
    steps=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
@example(head_width=2, groups=1, in_group=1, inner=72, layers=3, vocabulary=45, tied=False, steps=18, seed=102)
@settings(max_examples=30, deadline=None)
def test_logits_are_those_of_the_decoder_whatever_the_shape(
    make_decoder: Callable[..., Decoder],
    head_width: int,
    groups: int,
    in_group: int,
    inner: int,
    layers: int,
    vocabulary: int,
    tied: bool,
    steps: int,
    seed: int,
) -> None:
    heads = groups * in_group
    model = make_decoder(
        seed,
        vocabulary_size=vocabulary,
        width=heads * head_width,
        layers=layers,
        heads=heads,
        key_value_heads=groups,
        feed_forward_width=inner,
        tied=tied,
    )
    with torch.no_grad():  # so that wide and narrow models have logits of a like size
        for parameter in model.parameters():
            parameter *= 1.0 if parameter.dim() == 1 else min(1.0, 3.0 / parameter.shape[1] ** 0.5)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (2, steps), generator=generator)
    start, stop = sorted(torch.randperm(vocabulary + 1, generator=generator)[:2].tolist())
    choices = Choices(start, stop, end=None if seed % 2 else seed % vocabulary)
    one_pass = read(model, ids, [steps], choices)
    first = seed % steps
    chunks = [first, steps - first] if first else [steps]
    packed = read(PackedDecoder(model, "fp32"), ids, chunks, choices)
    # The norm of two channels that are almost 0 makes much of a rounding: the decoder's own are measured, too.
    exact = read(deepcopy(model).double(), ids, [steps], choices, torch.float64)
    own = float((one_pass - exact).abs().max()) if exact.numel() else 0.0
    torch.testing.assert_close(packed.double(), exact, atol=1e-4 + 2 * own, rtol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_a_position_computes_does_not_depend_on_its_company(
    make_decoder: Callable[..., Decoder], precision: Precision
) -> None:
    packed = PackedDecoder(make_decoder(), precision)
    ids = torch.randint(40, (3, 23), generator=torch.Generator().manual_seed(1))
    one_pass = read(packed, ids, [23], CHOICES)
    assert torch.equal(read(packed, ids, [1] * 23, CHOICES), one_pass)
    assert torch.equal(read(packed, ids, [7, 2, 4, 10], CHOICES), one_pass)
    assert torch.equal(read(packed, ids[1:2], [23], CHOICES), one_pass[1:2])


def test_long_prompts(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(layers=1, width=128, feed_forward_width=600)
    ids = torch.randint(40, (2, 700), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 0.2 if parameter.dim() == 2 else 1.0
    torch.testing.assert_close(
        read(PackedDecoder(model, "fp32"), ids, [700], CHOICES), read(model, ids, [700], CHOICES), atol=1e-4, rtol=1e-4
    )
    packed = PackedDecoder(model, "int8")  # whose inputs are copied, and large here
    assert torch.equal(read(packed, ids, [1, 699], CHOICES), read(packed, ids, [350, 350], CHOICES))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_only_loss_is_that_of_rounding_the_weights(
    make_decoder: Callable[..., Decoder], precision: Precision
) -> None:
    model = make_decoder(3, width=48, heads=3, key_value_heads=1, feed_forward_width=50, vocabulary_size=70)
    packed = PackedDecoder(model, precision)
    exact = read(model, torch.tensor([PROMPTS[2]]), [7], CHOICES)
    with torch.no_grad():  # the same rounding, by other means
        for name, parameter in model.named_parameters():
            if not any(f"{part}.weight" in name for part in PROJECTIONS):
                continue
            if precision == "bf16":
                parameter.copy_(parameter.bfloat16().float())
            else:
                scale = parameter.abs().amax(dim=1, keepdim=True) / 127
                parameter.copy_(
                    torch.fake_quantize_per_channel_affine(
                        parameter, scale.squeeze(1), torch.zeros(len(parameter), dtype=torch.int32), 0, -127, 127
                    )
                )
    rounded = read(model, torch.tensor([PROMPTS[2]]), [7], CHOICES)
    got = read(packed, torch.tensor([PROMPTS[2]]), [7], CHOICES)
    # 16-bit inputs are a 256th as coarse as 8-bit weights.
    torch.testing.assert_close(got, rounded, atol=1e-4 if precision == "bf16" else 5e-3, rtol=0)
    assert (got - rounded).abs().max() < 0.2 * (exact - rounded).abs().max()


@pytest.mark.parametrize("seed", range(4))
def test_greedy_choices_and_known_lengths(make_decoder: Callable[..., Decoder], seed: int) -> None:
    model = make_decoder(seed)
    packed = PackedDecoder(model, "fp32")
    assert same(generate(packed, PROMPTS, CHOICES, limit=20), generate(model, PROMPTS, CHOICES, limit=20))
    known = Choices(5, 40, end=None)
    lengths = [4, 0, 9, 1]
    ours = generate(packed, PROMPTS, known, lengths=lengths)
    assert same(ours, generate(model, PROMPTS, known, lengths=lengths))
    assert [len(row.ids) for row in ours] == lengths


@pytest.mark.parametrize("limit", [0, 1])
def test_the_shortest_limits(make_decoder: Callable[..., Decoder], limit: int) -> None:
    model = make_decoder()
    ours = generate(PackedDecoder(model, "fp32"), PROMPTS, CHOICES, limit=limit)
    assert same(ours, generate(model, PROMPTS, CHOICES, limit=limit))


def test_a_trained_model_writes_what_it_learned(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(width=64)
    line = torch.randint(5, 40, (1, 60), generator=torch.Generator().manual_seed(5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = F.cross_entropy(model(line[:, :-1]).flatten(0, 1), line[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for precision in PRECISIONS:
        written = generate(PackedDecoder(model, precision), [line[0, :8].tolist()], CHOICES, limit=52)[0]
        assert list(written.ids) == line[0, 8:].tolist()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.7, top_p=0.8),
        Sampling(temperature=1.3, top_k=5),
        Sampling(temperature=1.0, top_k=9, top_p=0.6, repetition_window=4),
    ],
)
def test_one_seed_gives_one_sample(make_decoder: Callable[..., Decoder], sampling: Sampling) -> None:
    model, known = make_decoder(1), Choices(5, 40, end=None)
    packed = PackedDecoder(model, "fp32")

    def draw(model: LanguageModel, seed: int) -> list[Continuation]:
        generator = torch.Generator().manual_seed(seed)
        return generate(model, PROMPTS, known, lengths=[12] * 4, samples=3, sampling=sampling, generator=generator)

    assert same(draw(packed, 7), draw(model, 7))
    assert draw(packed, 7) == draw(packed, 7)
    assert draw(packed, 7) != draw(packed, 8)


@given(
    seed=st.integers(0, 10_000),
    candidates=st.integers(1, 70),
    temperature=st.floats(0.2, 2.0),
    top_k=st.integers(0, 80),
    top_p=st.floats(0.05, 1.0),
    window=st.integers(0, 5),
    spread=st.floats(0.5, 12.0),
)
@settings(max_examples=60, deadline=None)
def test_compiled_choices_are_those_of_the_tensor_code(
    seed: int, candidates: int, temperature: float, top_k: int, top_p: float, window: int, spread: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, candidates, generator=generator) * spread
    recent = torch.randint(-1, candidates, (5, 6), generator=generator)[:, 6 - window :]
    sampling = Sampling(temperature, top_k, top_p, window, repetition_threshold=0.3)
    state = generator.get_state()
    expected = choose(logits, sampling, generator, recent)
    left = generator.get_state()
    generator.set_state(state)
    columns, gains = choose_columns(logits.numpy(), sampling, generator, recent.numpy())
    assert columns.tolist() == expected.tolist()
    assert torch.equal(generator.get_state(), left)
    expected_gains = F.log_softmax(logits, dim=-1).gather(1, expected.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(torch.from_numpy(gains), expected_gains, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_drafts_do_not_change_what_is_written(make_decoder: Callable[..., Decoder], precision: Precision) -> None:
    packed = PackedDecoder(make_decoder(1), precision)
    plain = generate(packed, PROMPTS[:1], CHOICES, limit=30)[0]
    half_right = [*plain.ids[:9], 6, 6, *plain.ids[12:]]
    drafted = generate_with_drafts(packed, PROMPTS[0], CHOICES, [half_right], limit=30)
    assert drafted.continuation.ids == plain.ids
    assert drafted.calls < len(plain.ids)


def test_beams_and_scores_of_given_answers(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(2)
    packed = PackedDecoder(model, "fp32")
    for prompts in (PROMPTS[:1], PROMPTS):
        beams = [beam_search(one, prompts, CHOICES, beams=4, limit=6) for one in (packed, model)]
        assert same(*beams)
    answers = [[5, 6, 7], [], [30, 8]]
    scored = [score_continuations(one, *prefill(one, PROMPTS[:1], 10), CHOICES, answers) for one in (packed, model)]
    assert same(*scored)


def test_lines_of_aligned_steps_with_conditions(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(4, conditions=3)
    with torch.no_grad():
        assert model.condition is not None
        model.condition.weight.normal_(generator=torch.Generator().manual_seed(1))
    random = np.random.default_rng(2)
    lines = []
    for steps, length in ((9, 5), (4, 4), (12, 1)):
        ids = random.integers(0, 40, (steps, 3))
        ids[steps - length + 1 :, -1] = ABSENT
        lines.append(AlignedLine(ids, length, random.integers(-1, 3, steps)))
    known = Choices(10, 30, end=None)
    packed = PackedDecoder(model, "fp32")
    assert same(generate_aligned(packed, lines, known), generate_aligned(model, lines, known))


def test_prefix_lm(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(5, prefix_lm=True)
    packed = PackedDecoder(model, "fp32")
    prefixes = [2, 1, 7, 1]
    ours = generate(packed, PROMPTS, CHOICES, limit=12, prefixes=prefixes)
    assert same(ours, generate(model, PROMPTS, CHOICES, limit=12, prefixes=prefixes))
    assert not same(ours, generate(packed, PROMPTS, CHOICES, limit=12, prefixes=[1] * 4))
    with pytest.raises(InputError, match="which positions are prompt"):
        packed.transform(torch.zeros(1, 2, 32), cache=KeyValueCache(model.config, 1, 4))


def test_adapters_are_packed_with_the_decoder(make_decoder: Callable[..., Decoder]) -> None:
    generator = torch.Generator().manual_seed(0)
    lora, prompted = make_decoder(6), make_decoder(6)
    add_lora(lora, LoraConfig(), generator)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if name.endswith("lora_up"):
                parameter.normal_(generator=generator)
    plain = generate(make_decoder(6), PROMPTS, CHOICES, limit=9)
    adapted = generate(lora, PROMPTS, CHOICES, limit=9)
    assert not same(adapted, plain)
    assert same(generate(PackedDecoder(lora, "fp32"), PROMPTS, CHOICES, limit=9), adapted)
    add_prompt(prompted, PromptConfig(length=3), generator)
    prompts = [[*prompt_ids(prompted), *prompt] for prompt in PROMPTS]
    ours = generate(PackedDecoder(prompted, "fp32"), prompts, CHOICES, limit=9)
    assert same(ours, generate(prompted, prompts, CHOICES, limit=9))


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All work is shared by three threads, however little it is."""
    monkeypatch.setattr(team, "_LEAST_WORK", 1.0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_give_the_same_to_the_last_bit(make_decoder: Callable[..., Decoder], precision: Precision) -> None:
    packed = PackedDecoder(make_decoder(2, feed_forward_width=150, vocabulary_size=300), precision)
    ids = torch.randint(40, (3, 23), generator=torch.Generator().manual_seed(1))
    choices = Choices(start=70, stop=290, end=1)
    together = read(packed, ids, [20, 1, 1, 1], choices)
    torch.set_num_threads(1)
    assert torch.equal(read(packed, ids, [20, 1, 1, 1], choices), together)


@pytest.mark.usefixtures("three_threads")
def test_calls_at_the_same_time_do_not_wait_for_each_other_for_ever(make_decoder: Callable[..., Decoder]) -> None:
    packed = PackedDecoder(make_decoder(1), "fp32")
    alone = generate(packed, PROMPTS, CHOICES, limit=25)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(generate, packed, PROMPTS, CHOICES, limit=25) for _ in range(12)]
        assert all(call.result(timeout=60) == alone for call in calls)


@pytest.mark.usefixtures("three_threads")
def test_a_forked_process_starts_its_own_threads(make_decoder: Callable[..., Decoder]) -> None:
    packed = PackedDecoder(make_decoder(1), "fp32")
    here = generate(packed, PROMPTS, CHOICES, limit=9)
    with ProcessPoolExecutor(1, get_context("fork"), initializer=_keep, initargs=(packed,)) as pool:
        assert pool.submit(_write_there).result(timeout=60) == here


_KEPT: list[PackedDecoder] = []


def _keep(packed: PackedDecoder) -> None:
    _KEPT.append(packed)


def _write_there() -> list[Continuation]:
    return generate(_KEPT[0], PROMPTS, CHOICES, limit=9)


def test_a_failing_member_is_told_of() -> None:
    def fail(member: team.Member) -> None:
        if member.place:
            raise ValueError(member.place)

    with pytest.raises(ValueError, match="1"):
        team.TEAM.run(2, fail)
    assert team.TEAM.run(2, lambda member: member.members) == 2


TEAMWORK = """
import sys, threading
from unitlm.engine.team import TEAM, meet

def work(member):
    if member.place == int(sys.argv[1]):
        raise MemoryError("too much")
    for _ in range(3):
        meet(member)

for _ in range(3):
    try:
        TEAM.run(3, work)
    except MemoryError as error:
        print(error)
print(TEAM.run(3, lambda member: meet(member) or member.members))

def late():
    threading.main_thread().join()
    print(TEAM.run(5, lambda member: meet(member) or member.members))

threading.Thread(target=late).start()
"""


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nobody_waits_for_a_member_that_failed_or_could_not_be_started(place: int) -> None:
    """In a process of its own, which a member that waits for ever would keep from ending."""
    command = [sys.executable, "-c", TEAMWORK, str(place)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    # The last answer is one thread's: when the interpreter shuts down no others can be started.
    assert ended.stdout.split("\n") == ["too much"] * 3 + ["3", "1", ""]


@pytest.mark.parametrize("positions", range(1, 7))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tiles_need_no_special_instruction(
    precision: Precision, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "has_vnni", lambda: False)
    monkeypatch.setattr(tiles, "has_pairs", lambda: False)
    x, weight = make_product(positions, 20)
    tolerance = {"fp32": 1e-5, "bf16": 0.05, "int8": 0.1}[precision]
    y = run_tile(pack([weight], precision), positions, x, np.empty(0, np.float32))
    np.testing.assert_allclose(y, x @ weight.numpy().T, atol=tolerance)


@pytest.mark.skipif(not tiles.has_pairs(), reason="a processor without AVX2")
@pytest.mark.parametrize("positions", range(1, 7))
def test_eight_bits_by_pairs_of_columns(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "has_vnni", lambda: False)
    x, weight = make_product(positions, 1200)  # two whole blocks of words, and a part of one
    matrix = pack([weight], "int8")
    scale = weight.abs().amax(dim=1).numpy() / 127
    rounded = np.rint(weight.numpy() / scale[:, None])
    pairs, scales = prepare(x)
    whole = pairs.reshape(positions, 300, 4)[:, :, [0, 2, 1, 3]].reshape(positions, 1200).astype(np.float64)
    assert np.abs(whole - x / scales[:, None]).max() < 0.51
    y = run_tile(matrix, positions, pairs, scales)
    np.testing.assert_allclose(y, (whole @ rounded.T) * scales[:, None] * scale, rtol=1e-5, atol=1e-5)
    largest = np.full((positions, 1200), 3.0, np.float32)  # sums of a block that just fit into 32 bits
    pairs, scales = prepare(largest)
    y = run_tile(pack([torch.full((64, 1200), -2.0)], "int8"), positions, pairs, scales)
    np.testing.assert_allclose(y, -7200, rtol=1e-6)


def make_product(positions: int, columns: int) -> tuple[NDArray[np.float32], torch.Tensor]:
    """Random inputs [positions, columns] and weights [64, columns]."""
    weight = torch.randn(64, columns, generator=torch.Generator().manual_seed(0))
    return np.random.default_rng(0).standard_normal((positions, columns)).astype(np.float32), weight


def prepare(x: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Inputs as pairs of columns, and their scales."""
    scratch = make_scratch(*x.shape)
    return pair_columns(x, scratch, team.ALONE), scratch.scales


def run_tile(
    matrix: Matrix, positions: int, inputs: NDArray[np.generic], scales: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a tile makes of prepared inputs and the one group of a matrix."""
    tile, y = tiles.make_tile(positions), np.zeros((positions, 64), np.float32)

    @numba.njit
    def run(weights, row_scales, inputs, scales, y):  # type: ignore[no-untyped-def]
        at = weights.ctypes.data, weights.shape[3], row_scales.ctypes.data, inputs.ctypes.data, scales.ctypes.data
        place = y.ctypes.data, y.strides[0]
        tile(weights, (at[0], at[1], at[2], 0, at[3], inputs.strides[0], at[4], place[0], place[1]))

    run(matrix.weights, matrix.scales, inputs, scales, y)
    return y


def test_what_cannot_be_packed_stays_as_it_is(
    make_decoder: Callable[..., Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, both_sides, plain = make_decoder(stages=2), make_decoder(causal=False), make_decoder()
    assert pack_decoder(staged, "fp32") is staged
    assert pack_decoder(both_sides, "fp32") is both_sides
    assert isinstance(pack_decoder(plain, "fp32"), PackedDecoder)
    with pytest.raises(InputError, match="only a causal decoder"):
        PackedDecoder(staged, "fp32")
    monkeypatch.setattr(language_model, "find_spec", lambda name: None)
    assert pack_decoder(plain, "fp32") is plain


def test_a_full_cache_is_an_error(make_decoder: Callable[..., Decoder]) -> None:
    packed = PackedDecoder(make_decoder(), "fp32")
    with pytest.raises(InputError, match="do not fit into 4 slots"):
        packed.transform(torch.zeros(1, 5, 32), cache=KeyValueCache(packed.config, 1, 4))
