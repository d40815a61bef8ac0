"""Cross-entropy at the trained positions alone, its gradient made in the same chunked pass.

No logits are kept and none is computed twice. It owns no weights.

Legend: C trained positions; H hidden; V vocabulary.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from bullion.data.packing import Pack
from bullion.data.supervise import IGNORED


def trained_positions(pack: Pack) -> tuple[Tensor, Tensor]:
    """The rows whose next token is trained, and that token, (C,) each, on the pack's device."""
    following = pack.labels[1:]
    rows = (following != IGNORED).nonzero()[:, 0]
    return rows, following[rows]


def loss_and_gradient(
    hidden: Tensor,
    targets: Tensor,
    head: Tensor,
    scale: float,
    logits: Tensor,
    operations: ModuleType,
) -> Tensor:
    """scale · Σ cross-entropy, 0-d fp32; `hidden`: (C, H) becomes its own gradient.

    `head`: (V, H). `logits`: (chunk, V), scratch that bounds the rows of a chunk.
    """
    count = hidden.shape[0]
    losses = torch.empty(count, dtype=torch.float32, device=hidden.device)
    for rows in _chunks(count, logits.shape[0]):
        part, z = hidden[rows], logits[: rows.stop - rows.start]
        torch.mm(part, head.t(), out=z)
        operations.cross_entropy(z, targets[rows], losses[rows])
        torch.addmm(part, z, head, beta=0, alpha=scale, out=part)
    return losses.sum().mul_(scale)


def loss_and_hits(
    hidden: Tensor, targets: Tensor, head: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Σ cross-entropy (fp32) and how often the likeliest token is the target (int64), 0-d each."""
    total = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hits = torch.zeros((), dtype=torch.int64, device=hidden.device)
    for rows in _chunks(hidden.shape[0], logits.shape[0]):
        z = logits[: rows.stop - rows.start]
        torch.mm(hidden[rows], head.t(), out=z)
        chosen = targets[rows]
        hits += (z.argmax(-1) == chosen).sum()
        wide = z.float()
        total += (wide.logsumexp(-1) - wide.gather(1, chosen[:, None])[:, 0]).sum()
    return total, hits


def _chunks(count: int, most: int) -> list[slice]:
    """`count` rows in chunks of nearly equal size, at most `most` each."""
    size = -(-count // -(-count // most))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
