from copy import deepcopy

import pytest
import torch
from torch import nn

from unitlm.muon import StackedMuon, orthogonalize

SHAPES = ((24, 16), (16, 24), (16, 24), (24, 16), (40, 16), (16, 16))


def make(optimizer: type[torch.optim.Muon]) -> tuple[list[nn.Parameter], torch.optim.Muon]:
    generator = torch.Generator().manual_seed(3)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    return parameters, optimizer(parameters, lr=1e-2, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")


def walk(parameters: list[nn.Parameter], optimizer: torch.optim.Muon, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for number, parameter in enumerate(parameters):
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if (step, number) == (2, 1) else drawn  # one has no gradient once
        optimizer.step()


def test_steps_are_those_of_torch():
    (ours, our_optimizer), (theirs, their_optimizer) = make(StackedMuon), make(torch.optim.Muon)
    before = [parameter.detach().clone() for parameter in ours]
    walk(ours, our_optimizer, range(6))
    walk(theirs, their_optimizer, range(6))
    for mine, other, start in zip(ours, theirs, before, strict=True):
        # Of the way that was gone, bf16 rounds off less than a hundredth.
        assert (mine - other).norm() < 1e-2 * (other - start).norm()


def test_either_goes_on_with_the_other_ones_memory():
    (parameters, ours), (copies, theirs) = make(StackedMuon), make(torch.optim.Muon)
    walk(parameters, ours, range(3))
    for copy, parameter in zip(copies, parameters, strict=True):
        copy.data.copy_(parameter.data)
    theirs.load_state_dict(deepcopy(ours.state_dict()))
    start = [parameter.detach().clone() for parameter in parameters]
    walk(parameters, ours, range(3, 5))
    walk(copies, theirs, range(3, 5))
    for mine, other, at in zip(parameters, copies, start, strict=True):
        assert (mine - other).norm() < 1e-2 * (other - at).norm()


@pytest.mark.parametrize("shape", [(3, 20, 12), (2, 12, 20)])
def test_singular_values_become_about_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    even = orthogonalize(matrices, (3.4445, -4.775, 2.0315), 5, 1e-7).float()
    values = torch.linalg.svdvals(even)
    assert values.min() > 0.5
    assert values.max() < 1.4
    # The directions stay: what is left of U is U itself.
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    rotated = u.mT @ even @ v.mT
    assert (rotated - torch.diag_embed(rotated.diagonal(dim1=1, dim2=2))).abs().max() < 0.05
