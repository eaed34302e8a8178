"""All of a film's past in one matrix a structure: GDKVM, OSA."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.memories.base import FusedMemory
from echozoo.models.memories.state import Keys, Movable
from echozoo.models.prompts import Features
from echozoo.registry import MEMORIES

# Of x -> a x + b x^3 + c x^5, whose fixed point 1 draws singular values in [0, 1] to itself; our
# choice, as OSA states no numbers.
_QUINTIC = (15 / 8, -10 / 8, 3 / 8)


@dataclass(frozen=True)
class DeltaState(Movable):
    """The state of a `DeltaMemory`; it does not grow.

    Attributes:
        matrix: (B, K, C, V): the values that C features of a position stand for.
        sensory: (B, K, C', h, w), what goes on from frame to frame; None for a memory without.
        written: Whether any frame was.
    """

    matrix: Tensor
    sensory: Tensor | None = None
    written: bool = False


@MEMORIES.register_module()
class DeltaMemory(FusedMemory):
    r"""Keys and values of all earlier frames in one matrix, by the gated delta rule.

    With a frame's keys :math:`k`, a softmax over their channels at each of hw positions, and the
    values :math:`v` of its masks, the first frame makes :math:`S = k v^T`, each later one

    .. math:: S' = \alpha \circ (S - \beta \circ k k^T S) + \beta \circ k v^T,

    what its keys stood for making room for what they stand for now; the gates follow from S
    itself, for each of ``num_heads`` parts of the values. A position reads :math:`S^T k`.

    R. Wang et al., "GDKVM", ICCV 2025 (arXiv 2512.10252). Its network around this, a query
    transformer and a fusion of keys and pixels, is not rebuilt: the memory is read, fused and
    decoded as XMem's. A frame is written with its own masks once it is segmented; the released
    code writes it before, with those of the frame before.

    Args:
        value_dims: V.
        num_heads: Gates.
        gate: "paper": :math:`\alpha = \exp(-e^A \mathrm{softplus}(aS + b))`, in (0, 1);
            "released": its code has the exponent alone, below 0, and gives channel v of the values
            the first gate of head v modulo the heads.
        num_structures: Of a film of which nothing is given: what tells its K structures apart, a
            learnt value each, is added to what they read. Any other number of structures has
            masks that tell them apart.
        orthonormal_steps: Newton-Schulz steps after each frame, which draw the matrix's singular
            values to 1, so that none decays (OSA, CVPR 2026); 0 is without.
        **fused: See `FusedMemory`; its ``key_dims`` are C.

    Raises:
        ConfigError: ``gate`` is neither, or the heads do not divide the values' channels.
    """

    def __init__(
        self,
        value_dims: int = 256,
        num_heads: int = 8,
        gate: Literal["paper", "released"] = "paper",
        num_structures: int = 1,
        orthonormal_steps: int = 0,
        **fused,
    ) -> None:
        super().__init__(value_dims=value_dims, **fused)
        if gate not in ("paper", "released") or value_dims % num_heads:
            raise ConfigError(
                f"DeltaMemory: found gate={gate!r}, {num_heads} heads for {value_dims} channels of"
                " values; wants 'paper' or 'released', and a divisor"
            )
        self.gate, self.orthonormal_steps = gate, orthonormal_steps
        self.value_dims, self.num_heads = value_dims, num_heads
        self.which = nn.Parameter(torch.randn(num_structures, value_dims))
        self.a_proj = nn.Linear(value_dims, num_heads, bias=False)
        self.b_proj = nn.Linear(value_dims, num_heads, bias=False)
        # As gated state spaces begin: rates up to 16, steps of .001 to .1, their softplus undone.
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1e-3, 16).log())
        steps = torch.empty(num_heads).uniform_(math.log(1e-3), math.log(0.1)).exp()
        self.dt_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))

    def start(self, batch: int, structures: int, like: Tensor) -> DeltaState:
        """Make the state before B films of K structures, for features (..., h, w): nothing."""
        shape = (batch, structures, self.key.out_channels, self.value_dims)
        return DeltaState(like.new_zeros(shape), self.senses_before(batch, structures, like))

    def keys(self, features: Features) -> Keys:
        """Compute what N frames are looked up by; all frames of a clip at once."""
        key = self.key(features.embedding).softmax(1)
        return Keys(key, torch.ones_like(key[:, :1]), torch.ones_like(key))

    def read(self, state: DeltaState, keys: Keys) -> tuple[Tensor, DeltaState]:
        """Look one frame of each film up.

        Returns:
            Read-out (B, K, V, h, w), and the state.
        """
        readout = torch.einsum("bchw,bkcv->bkvhw", keys.key, state.matrix)
        if readout.shape[1] == len(self.which):
            readout = readout + self.which[:, :, None, None]
        return readout, state

    def write(
        self,
        state: DeltaState,
        t: int,
        features: Features,
        keys: Keys,
        masks: Tensor,
        permanent: bool = False,
        given: bool = False,
    ) -> DeltaState:
        """Take a frame with its logits (B, K, H, W) in; a permanent one fades as all others do."""
        shares = masks.sigmoid()
        others = shares.sum(1, keepdim=True) - shares
        values = self.value_encoder(features, shares, others)  # B, K, V, h, w
        if self.deep_update is not None:
            state = replace(state, sensory=self.deep_update(values, state.sensory))
        matrix = self.updated(state.matrix if state.written else None, keys.key, values)
        return replace(state, matrix=matrix, written=True)

    def updated(self, matrix: Tensor | None, key: Tensor, values: Tensor) -> Tensor:
        """The matrix (B, K, C, V) after a frame.

        Args:
            matrix: (B, K, C, V); None before the first frame.
            key: (B, C, h, w), positive, with a sum of 1 over the channels.
            values: (B, K, V, h, w).
        """
        key, values = key.flatten(2), values.flatten(3)  # B, C, M and B, K, V, M
        new = torch.einsum("bcm,bkvm->bkcv", key, values)
        if matrix is not None:
            old = torch.einsum("bcm,bdm,bkdv->bkcv", key, key, matrix)
            keep, change = self._gates(matrix)
            new = keep * (matrix - change * old) + change * new
        return orthonormal(new, self.orthonormal_steps) if self.orthonormal_steps else new

    def _gates(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the matrix (B, K, C, V) stays, and how much of it is exchanged."""
        a, b = self.a_proj(matrix), self.b_proj(matrix)  # B, K, C, heads
        keep = -self.A_log.exp() * F.softplus(a + self.dt_bias)
        width = self.value_dims // self.num_heads
        change = b.sigmoid().repeat_interleave(width, -1)
        if self.gate == "paper":
            return keep.exp().repeat_interleave(width, -1), change
        return keep.repeat(1, 1, 1, width), change


def orthonormal(matrix: Tensor, steps: int) -> Tensor:
    """Draw the singular values of matrices (..., C, V), C <= V, to 1 (Newton-Schulz).

    Args:
        matrix: The matrices; zero stays zero.
        steps: How many; 12 bring a hundredth of the largest singular value there.
    """
    a, b, c = _QUINTIC
    x = matrix / matrix.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    for _ in range(steps):
        square = x @ x.transpose(-2, -1)  # C, C
        x = a * x + (b * square + c * square @ square) @ x
    return x
