"""A small decoder-only transformer: from the characters so far to the probabilities of the next one.

embedding + position -> [ x += attention(norm(x)); x += two_layers(norm(x)) ] x layers -> norm -> logits

Norms come before what they feed (pre-norm), positions are learned, linear layers have no bias, and the logits use the embedding's own
matrix (tied weights).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

DEVIATION = 0.5  # of what a sum with initial weights gives


class Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.projection = nn.Linear(width, width, bias=False)
        self.expansion_norm = nn.LayerNorm(width)
        self.expansion = nn.Linear(width, 4 * width, bias=False)
        self.contraction = nn.Linear(4 * width, width, bias=False)

    def attention(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same; a position sees itself and those before."""
        batch, time, width = x.shape
        parts = self.query_key_value(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.projection(seen.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.contraction(functional.gelu(self.expansion(self.expansion_norm(x)))))


class CharGpt(nn.Module):
    """Numbers of characters, int64 [batch, time], time <= context, to logits [batch, time, vocabulary]."""

    def __init__(self, vocabulary: int, context: int, width: int, layers: int, heads: int, dropout: float = 0) -> None:
        super().__init__()
        if width % heads != 0:
            raise SystemExit(f"--width {width} is not a multiple of --heads {heads}")
        self.context = context
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            # What is added to x is smaller, so that x does not grow with the number of layers.
            is_added = name.endswith(("projection.weight", "contraction.weight"))
            terms = parameter.shape[1] * (2 * layers if is_added else 1)
            nn.init.normal_(parameter, std=DEVIATION / math.sqrt(terms))

    def forward(self, characters: Tensor) -> Tensor:
        x = self.embedding(characters) + self.position.weight[: characters.shape[1]]
        return functional.linear(self.norm(self.blocks(x)), self.embedding.weight)

    @torch.no_grad()
    def go_on(self, text: list[int], count: int, temperature: float, random: torch.Generator) -> list[int]:
        """The text and `count` characters more."""
        self.eval()
        for _ in range(count):
            logits = self(torch.tensor([text[-self.context :]]))[0, -1]
            text = [*text, int(torch.multinomial(torch.softmax(logits / temperature, 0), 1, generator=random))]
        self.train()
        return text
