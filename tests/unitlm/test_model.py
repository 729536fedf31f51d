"""The decoder and its cache: causality, both-sides attention, cached = uncached, packed = apart."""

from __future__ import annotations

import pytest
import torch

from unitlm.cache import KeyValueCache
from unitlm.errors import InputError
from unitlm.model import ABSENT, Decoder, Dropout, ModelConfig, build_mask

SHAPE = {"vocabulary_size": 40, "width": 32, "layers": 2, "heads": 4, "feed_forward_width": 48}
TOLERANCE = 2e-5  # fp32 sums in another order


@pytest.fixture(params=[1, 2, 4], ids=lambda groups: f"{groups}-kv-heads")
def decoder(request: pytest.FixtureRequest) -> Decoder:
    model = Decoder(ModelConfig(**SHAPE, key_value_heads=request.param)).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_show_what_a_position_sees(causal: bool) -> None:
    model = Decoder(ModelConfig(**SHAPE, key_value_heads=2, causal=causal))  # type: ignore[arg-type]
    embedded = torch.randn(1, 7, 32, requires_grad=True)
    model.transform(embedded)[0, 3].sum().backward()
    assert embedded.grad is not None
    seen = embedded.grad[0].abs().sum(dim=-1) > 0
    assert seen.tolist() == [True, True, True, True, not causal, not causal, not causal]


def test_single_steps_through_the_cache_equal_the_whole_sequence(decoder: Decoder) -> None:
    ids = random_ids(3, 11)
    whole = decoder(ids)
    cache = KeyValueCache(decoder.config, batch=3, capacity=11)
    parts = []
    for start, stop in [(0, 4), (4, 5), (5, 6), (6, 9), (9, 10), (10, 11)]:
        parts.append(decoder(ids[:, start:stop], cache=cache))
        cache.advance(stop - start)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("static", [False, True])
def test_rows_of_unequal_length_equal_each_row_alone(decoder: Decoder, static: bool) -> None:
    ids, lengths = random_ids(4, 12), torch.tensor([6, 1, 4, 2])
    cache = KeyValueCache(decoder.config, batch=4, capacity=16, static=static)
    decoder(ids[:, :6], cache=cache)  # shorter rows are padded by what happens to follow: it must not matter
    cache.advance(lengths)
    for steps in (1, 3, 1):
        now = torch.stack([ids[row, length : length + steps] for row, length in enumerate(cache.lengths.tolist())])
        logits = decoder(now, cache=cache)
        for row, length in enumerate(cache.lengths.tolist()):
            alone = decoder(ids[row : row + 1, : length + steps])[0, length:]
            torch.testing.assert_close(logits[row], alone, atol=TOLERANCE, rtol=0)
        cache.advance(steps)


def test_truncated_and_selected_rows_go_on_as_if_nothing_had_been_written(decoder: Decoder) -> None:
    ids = random_ids(2, 10)
    cache = KeyValueCache(decoder.config, batch=2, capacity=12)
    decoder(ids[:, :8], cache=cache)
    cache.advance(8)
    cache.truncate(torch.tensor([5, 3]))
    cache.select(torch.tensor([1, 0, 1]))
    following = random_ids(3, 2)
    logits = decoder(following, cache=cache)
    for row, (source, length) in enumerate([(1, 3), (0, 5), (1, 3)]):
        alone = decoder(torch.cat((ids[source, :length], following[row])).unsqueeze(0))[0, length:]
        torch.testing.assert_close(logits[row], alone, atol=TOLERANCE, rtol=0)


def test_hypotheses_go_on_as_others_behind_their_prompts(decoder: Decoder) -> None:
    """Three hypotheses of two prompts, one of which is shorter: only what they have written moves."""
    prompts, written = random_ids(2, 6)[[0, 1, 0, 1, 0, 1]], random_ids(6, 2)
    given = torch.tensor([6, 4, 6, 4, 6, 4])
    cache = KeyValueCache(decoder.config, batch=6, capacity=12)
    decoder(prompts, cache=cache)
    cache.advance(given)
    decoder(written, cache=cache)
    cache.advance(2)
    before = cache.keys[:, :, :, :4].clone()
    cache.reorder(torch.tensor([2, 0, 2]), [6, 4])
    assert torch.equal(cache.keys[:, :, :, :4], before)
    following = random_ids(6, 2)
    logits = decoder(following, cache=cache)
    for row, (parent, length) in enumerate(zip([4, 5, 0, 1, 4, 5], given.tolist(), strict=True)):
        whole = torch.cat((prompts[row, :length], written[parent], following[row])).unsqueeze(0)
        torch.testing.assert_close(logits[row], decoder(whole)[0, length + 2 :], atol=TOLERANCE, rtol=0)


def test_only_the_wanted_positions_are_scored(decoder: Decoder) -> None:
    ids = random_ids(2, 5)
    wanted = torch.tensor([[True, False, True, False, False], [False, False, False, False, True]])
    torch.testing.assert_close(decoder(ids, at=wanted), decoder(ids)[wanted], atol=TOLERANCE, rtol=0)
    among = torch.tensor([[3, 4, 5], [39, 0, 7]])  # of each row its own
    expected = torch.stack([decoder(ids)[row, :, among[row]] for row in range(2)])
    torch.testing.assert_close(decoder(ids, among=among), expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(decoder(ids, at=wanted, among=among), expected[wanted], atol=TOLERANCE, rtol=0)


def test_cache_refuses_more_than_it_holds(decoder: Decoder) -> None:
    cache = KeyValueCache(decoder.config, batch=1, capacity=4)
    decoder(random_ids(1, 3), cache=cache)
    cache.advance(3)
    with pytest.raises(InputError, match="3 \\+ 2 tokens do not fit into 4"):
        decoder(random_ids(1, 2), cache=cache)


@pytest.mark.parametrize("static", [False, True])
def test_a_cache_can_be_filled_to_its_last_slot(decoder: Decoder, static: bool) -> None:
    ids = random_ids(2, 6)
    cache = KeyValueCache(decoder.config, batch=2, capacity=6, static=static)
    decoder(ids[:, :4], cache=cache)
    cache.advance(torch.tensor([4, 1]))
    logits = decoder(torch.stack((ids[0, 4:6], ids[1, 1:3])), cache=cache)
    torch.testing.assert_close(logits[0], decoder(ids[:1])[0, 4:], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits[1], decoder(ids[1:, :3])[0, 1:], atol=TOLERANCE, rtol=0)


def test_a_cache_is_refused_where_its_mask_would_be_wrong(decoder: Decoder) -> None:
    cache, ids = KeyValueCache(decoder.config, batch=1, capacity=4), random_ids(1, 3)
    with pytest.raises(InputError, match="a cache needs a causal model and no segments"):
        decoder(ids, cache=cache, segments=torch.zeros_like(ids))
    both_sides = Decoder(ModelConfig(**SHAPE, key_value_heads=2, causal=False))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a cache needs a causal model and no segments"):
        both_sides(ids, cache=KeyValueCache(both_sides.config, batch=1, capacity=4))


@pytest.mark.parametrize("causal", [True, False])
def test_packed_documents_do_not_see_each_other(causal: bool) -> None:
    model = Decoder(ModelConfig(**SHAPE, key_value_heads=2, causal=causal)).eval()  # type: ignore[arg-type]
    ids = random_ids(1, 9)
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, ABSENT, ABSENT]])
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1]])
    packed = model(ids, positions=positions, segments=segments)
    assert not packed.isnan().any()
    for start, stop in [(0, 4), (4, 7)]:
        torch.testing.assert_close(packed[:, start:stop], model(ids[:, start:stop]), atol=TOLERANCE, rtol=0)


def test_a_document_in_two_pieces_sees_both() -> None:
    mask = build_mask(causal=False, segments=torch.tensor([[0, 1, 1, 0]]))
    assert mask.lengths is None
    assert mask.allowed is not None
    assert mask.allowed[0, 0, 0].tolist() == [True, False, False, True]


def test_codebooks_are_summed_and_absent_ones_add_nothing(decoder: Decoder) -> None:
    ids = random_ids(2, 5, 3)
    ids[0, 2, 1] = ids[0, 2, 2] = ABSENT
    expected = decoder.embedding(ids.clamp(min=0)).sum(dim=2)
    expected[0, 2] = decoder.embedding(ids[0, 2, 0])
    found = decoder.embed(ids)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    (wanted,) = torch.autograd.grad(expected, decoder.embedding.weight, gradient)
    torch.testing.assert_close(torch.autograd.grad(found, decoder.embedding.weight, gradient)[0], wanted)


def test_conditions_and_stages_change_only_what_they_name() -> None:
    config = ModelConfig(**SHAPE, key_value_heads=4, causal=False, stages=3, conditions=2)  # type: ignore[arg-type]
    model = Decoder(config).eval()
    ids, stage = random_ids(2, 5), torch.tensor([0, 2])
    plain = model(ids, stage=stage)
    torch.testing.assert_close(model(ids, stage=torch.tensor([1, 1])), plain)  # tables start at zero
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("stage.weight"):
                parameter[2] = 0.5
        assert model.condition is not None
        model.condition.weight[1] = 0.5
    changed = model(ids, stage=stage)
    torch.testing.assert_close(changed[0], plain[0])
    assert not torch.allclose(changed[1], plain[1])
    conditions = torch.full((2, 5), ABSENT)
    torch.testing.assert_close(model(ids, stage=stage, conditions=conditions), changed)
    conditions[0, 4] = 1
    assert not torch.allclose(model(ids, stage=stage, conditions=conditions)[0], changed[0])
    with pytest.raises(InputError, match="3 stages"):
        model(ids)


def test_dropout_keeps_the_mean_and_follows_the_generator() -> None:
    dropout, x = Dropout(0.1), torch.ones(64, 64, 3, requires_grad=True)

    def drop(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(x, dropout.draw(x))

    dropped = drop(0)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1.0 / 0.9], rel=1e-4)
    for part in dropped.flatten().split(3072):
        assert (part == 0).float().mean() == pytest.approx(0.1, abs=0.025)  # more than four standard errors
    for place in dropped.view(-1, 4).unbind(dim=1):
        assert (place == 0).float().mean() == pytest.approx(0.1, abs=0.025)
    assert torch.equal(torch.autograd.grad(dropped.sum(), x)[0], dropped)  # what was dropped learns nothing
    assert torch.equal(drop(0), dropped)
    assert not torch.equal(drop(1), dropped)
    dropout.eval()
    assert torch.equal(drop(0), x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30}, "width 30 must be heads"),
        ({"key_value_heads": 3}, "multiple of key_value_heads"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"stages": -1}, "stages must not be negative"),
        ({"conditions": -1}, "conditions must not be negative"),
        ({"rope_base": 0.0}, "rope_base must be positive"),
        ({"norm_epsilon": float("nan")}, "norm_epsilon must be positive"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelConfig(**{**SHAPE, "key_value_heads": 2, **changes})  # type: ignore[arg-type]
