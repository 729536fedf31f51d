"""Whitening of the latent and residual vector quantisation (SoundStream, arXiv 2107.03312, section III-C).

Codebooks follow their frames by exponential averages (VQ-VAE, arXiv 1711.00937, appendix A.1) instead of gradients.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechunits.kmeans import fit_kmeans

_STATISTICS_RATE = 0.01
_CODEBOOK_RATE = 0.01
# A code that is used this much less often than the average one is given a new place.
_DEAD_SHARE = 0.05


class Whitening(nn.Module):
    """Scales each dimension of the latent to mean 0 and variance 1, by the batch in training and by averages later.

    There is no learned scale: an encoder cannot make the commitment loss small by shrinking its output. Together with
    `covariance_penalty` it keeps every dimension in use, so that later levels of the quantiser have something to say.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()), persistent=False)  # seen in training

    def forward(self, latent: Tensor) -> Tensor:
        """Return `[B, T, D]` of the same shape, float32."""
        latent = latent.float()
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(latent, dim=(0, 1), correction=0)
            self.batches += 1.0
            # At first the plain mean over all batches: an average that begins at nothing is wrong for long.
            rate = self.batches.reciprocal().clamp(min=_STATISTICS_RATE)
            self.mean.lerp_(mean.detach(), rate)
            self.variance.lerp_(variance.detach(), rate)
        return (latent - mean) * (variance + 1e-5).rsqrt()


def covariance_penalty(latent: Tensor) -> Tensor:
    """Mean over dimensions of the squared covariances of a whitened latent `[B, T, D]` with all other dimensions."""
    frames = latent.flatten(0, 1)  # [B T, D]
    covariance = frames.T @ frames / frames.shape[0]
    others = covariance - torch.diag(torch.diagonal(covariance))
    return others.square().sum() / frames.shape[1]


@dataclass(frozen=True)
class Quantized:
    """What the quantiser makes of a batch in training.

    Attributes:
        latent: `[B, T, D]`, with the gradient of the unquantised latent.
        codes: `[K, B, T]` int64.
        commitment: mean squared distance of residuals and their codes, averaged over the levels.
    """

    latent: Tensor
    codes: Tensor
    commitment: Tensor


class ResidualQuantizer(nn.Module):
    """K codebooks, each for what the ones before it leave over.

    Attributes:
        codebooks: `[K, C, D]`.
        sizes: `[K, C]`, averaged frames of a batch that choose each code.
        sums: `[K, C, D]`, averaged sums of those frames.
    """

    codebooks: Tensor
    sizes: Tensor
    sums: Tensor

    def __init__(self, levels: int, codebook_size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(levels, codebook_size, width))
        # Only training needs these two; a stored codec goes without.
        self.register_buffer("sizes", torch.zeros(levels, codebook_size), persistent=False)
        self.register_buffer("sums", torch.zeros(levels, codebook_size, width), persistent=False)

    @property
    def levels(self) -> int:
        """K."""
        return self.codebooks.shape[0]

    @torch.no_grad()
    def start(self, latent: Tensor, frames_per_batch: int, seed: int) -> None:
        """Make the codebooks by k-means over frames, level after level.

        Args:
            latent: `[N, D]` float32, N at least the size of a codebook.
            frames_per_batch: frames of a training batch, for the scale of `sizes`.
            seed: of k-means.
        """
        residual = latent.clone()
        codebook_size = self.codebooks.shape[1]
        for level in range(self.levels):
            # More than 30 frames a code move the centroids little and cost seconds a level.
            fitted = fit_kmeans(
                residual.cpu().numpy().astype(np.float32),
                codebook_size,
                seed=seed + level,
                iterations=10,
                max_frames_per_cluster=30,
            )
            self.codebooks[level] = torch.from_numpy(fitted.centroids).to(residual.device)
            residual -= self.codebooks[level][self._nearest(residual, level)]
        self.sizes.fill_(frames_per_batch / codebook_size)
        self.sums.copy_(self.codebooks * self.sizes[..., None])

    @torch.no_grad()
    def encode(self, latent: Tensor) -> Tensor:
        """Return the codes `[K, B, T]` of a whitened latent `[B, T, D]`; of codes equally near, the lower one."""
        residual = latent.flatten(0, 1)
        codes = []
        for level in range(self.levels):
            codes.append(self._nearest(residual, level))
            residual = residual - self.codebooks[level][codes[-1]]
        return torch.stack(codes).view(self.levels, *latent.shape[:2])

    def decode(self, codes: Tensor, used: Tensor | None = None) -> Tensor:
        """Add up the vectors of codes.

        Args:
            codes: `[K', B, T]`, with K' from 1 to K.
            used: `[B]`, how many levels of each item count, from 0; None takes all.

        Returns:
            The latent `[B, T, D]`.
        """
        latent = self.codebooks.new_zeros(())
        for level, values in enumerate(codes):
            vectors = F.embedding(values, self.codebooks[level])
            latent = latent + (vectors if used is None else vectors * (used > level)[:, None, None])
        return latent

    def forward(self, latent: Tensor, used: Tensor, chance: torch.Generator | None) -> Quantized:
        """Quantise in training.

        Args:
            latent: whitened, `[B, T, D]` float32.
            used: `[B]`, how many levels the decoder gets of each item; codebooks learn from all levels all the same.
            chance: on the CPU, for the new places of dead codes; None leaves the codebooks as they are.
        """
        codes = self.encode(latent)
        vectors = torch.stack([F.embedding(codes[level], self.codebooks[level]) for level in range(self.levels)])
        before = vectors.cumsum(0) - vectors  # [K, B, T, D], what the levels below have said already
        commitment = (latent - before - vectors).square().mean()
        quantized = self.decode(codes, used)
        if chance is not None:
            self._follow((latent.detach() - before).flatten(1, 2), codes.flatten(1), chance)
        return Quantized(latent + (quantized - latent).detach(), codes, commitment)

    def _nearest(self, vectors: Tensor, level: int) -> Tensor:
        codebook = self.codebooks[level]
        # argmin |x - c|^2 = argmax (x.c - |c|^2 / 2): |x|^2 is the same for every code.
        scores = torch.addmm(codebook.square().sum(1).mul_(-0.5), vectors, codebook.T)  # [N, C]
        return scores.argmax(dim=1)

    @torch.no_grad()
    def _follow(self, residuals: Tensor, codes: Tensor, chance: torch.Generator) -> None:
        """Move each codebook towards the residuals `[K, N, D]` that chose its codes `[K, N]`; replace dead codes."""
        frames, codebook_size = codes.shape[1], self.codebooks.shape[1]
        average = frames / codebook_size
        counts = torch.zeros_like(self.sizes).scatter_add_(1, codes, torch.ones_like(codes, dtype=torch.float32))
        totals = torch.zeros_like(self.sums)
        for level in range(self.levels):
            totals[level].index_add_(0, codes[level], residuals[level])
        self.sizes.lerp_(counts, _CODEBOOK_RATE)
        self.sums.lerp_(totals, _CODEBOOK_RATE)
        dead = self.sizes < _DEAD_SHARE * average  # [K, C]
        # Drawn for every code, dead or not, so that chance does not depend on how many died.
        picks = torch.randint(frames, dead.shape, generator=chance).to(dead.device)
        for level in dead.any(dim=1).nonzero().flatten().tolist():
            places = residuals[level, picks[level, dead[level]]]
            self.sizes[level, dead[level]] = average
            self.sums[level, dead[level]] = places * average
        self.codebooks.copy_(self.sums / self.sizes[..., None])


def draw_levels(items: int, levels: int, chance: torch.Generator) -> Tensor:
    """How many levels the decoder gets of each item, `[items]`: all for half of them, any number for the others.

    It makes every number of levels a codec of its own (SoundStream's quantiser dropout).
    """
    fewer = torch.randint(1, levels + 1, (items,), generator=chance)
    return torch.where(torch.rand(items, generator=chance) < 0.5, fewer, levels)


def perplexities(codes: Tensor, codebook_size: int) -> list[float]:
    """For each level of codes `[K, N]`, of how many equally frequent codes it would have the entropy."""
    result = []
    for level in codes:
        shares = torch.bincount(level, minlength=codebook_size).double() / level.numel()
        shares = shares[shares > 0]
        result.append(math.exp(-float((shares * shares.log()).sum())))
    return result
