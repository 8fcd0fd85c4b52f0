# SPDX-License-Identifier: Apache-2.0
"""Low-rank adaptation of the fused query-key-value layers of timm's transformers (Hu et al., arXiv 2106.09685).

Own code rather than a library because timm keeps q, k and v in one matrix and only q and v are adapted
(arXiv 2411.19458 section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class QueryValueLora(nn.Module):
    """``qkv(x)`` plus a low-rank term on its query and value thirds; at first the term is zero.

    Args:
        qkv: frozen linear layer [C] -> [3 C]. rank: of the term.
    """

    def __init__(self, qkv: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.qkv = qkv.requires_grad_(False)
        width = qkv.in_features
        self.down = nn.Parameter(torch.randn(2, rank, width) / width ** 0.5)
        self.up = nn.Parameter(torch.zeros(2, width, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Features [..., C] to queries, keys and values [..., 3 C] of that place, side by side."""
        query, value = (F.linear(F.linear(x, self.down[i]), self.up[i]) for i in range(2))
        return self.qkv(x) + torch.cat([query, torch.zeros_like(query), value], dim=-1)


def add_lora(transformer: nn.Module, blocks: int = 4, rank: int = 4) -> None:
    """Freeze a timm transformer and adapt its last ``blocks`` blocks, in place."""
    transformer.requires_grad_(False)
    for block in transformer.blocks[-blocks:]:
        block.attn.qkv = QueryValueLora(block.attn.qkv, rank)
