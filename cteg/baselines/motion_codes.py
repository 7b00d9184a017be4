"""Motion as words: a VQ-VAE turns clips into codes of a small codebook and back; LM-Listener's first stage.

    frames (T, 53) ──► encoder ──► nearest of 256 codes ──► decoder ──► frames

Letters: B batch, T frames, K frames per code, N codes, C width of a code, V number of codes.

Reference: van den Oord et al. 2017, with the running averages and resets of Zhang et al. 2023 (T2M-GPT), see
`training.baselines`. Deviation: the encoder sees the past only, so that codes of known frames can predict the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cteg import layout


@dataclass(frozen=True)
class LMListenerConfig:
    """Sizes of both stages; the published ones are 512 wide codes and a pretrained GPT-2.

    Attributes:
        space: Coefficient space, `open` or `flame`.
        text_size: Width of the text encoder's hidden states.
        codes: V, size of the codebook.
        code_size: C, width of a code.
        halvings: Temporal downsampling is 2 to this power: 2 gives K = 4 frames per code, 3 gives 8.
        channels: Width of the convolutions.
        hidden_size: Width of the language model.
        layers: Its layers.
        heads: Its attention heads.
        max_frames: Longest clip that is written.
        dropout: Of the language model in training.
        text_encoder: sha256 of the text encoder's weights that it was trained with.
    """

    space: str = "open"
    text_size: int = 384
    codes: int = 256
    code_size: int = 64
    halvings: int = 2
    channels: int = 128
    hidden_size: int = 192
    layers: int = 4
    heads: int = 6
    max_frames: int = 256
    dropout: float = 0.1
    text_encoder: str = ""

    @property
    def stride(self) -> int:
        """K, frames per code."""
        return 2**self.halvings

    @property
    def max_codes(self) -> int:
        """Codes of the longest clip."""
        return self.max_frames // self.stride


class PastConvolution(nn.Conv1d):
    """Convolution (B, channels, T) whose output at t sees inputs up to t; with stride s, up to the end of its group."""

    def forward(self, states: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T / stride)."""
        return super().forward(functional.pad(states, (self.kernel_size[0] - self.stride[0], 0)))


class MotionCodes(nn.Module):
    """First stage: clips to codes and back. The codebook is a buffer; training moves it by running averages."""

    mean: Tensor
    scale: Tensor
    codebook: Tensor

    def __init__(self, config: LMListenerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.register_buffer("mean", torch.zeros(layout.D))
        self.register_buffer("scale", torch.ones(layout.D))
        self.register_buffer("codebook", torch.randn(config.codes, config.code_size))
        down: list[nn.Module] = [PastConvolution(layout.D, width, 3), nn.GELU()]
        up: list[nn.Module] = [nn.Conv1d(config.code_size, width, 3, padding=1), nn.GELU()]
        for _ in range(config.halvings):
            down += [PastConvolution(width, width, 4, stride=2), nn.GELU(), PastConvolution(width, width, 3), nn.GELU()]
            up += [nn.Upsample(scale_factor=2), nn.Conv1d(width, width, 3, padding=1), nn.GELU()]
        self.encoder = nn.Sequential(*down, nn.Conv1d(width, config.code_size, 1))
        self.decoder = nn.Sequential(*up, nn.Conv1d(width, layout.D, 3, padding=1))

    def embed(self, frames: Tensor) -> Tensor:
        """(B, N*K, 53) coefficients -> (B, N, C), before rounding to a code."""
        return self.encoder(((frames - self.mean) / self.scale).transpose(1, 2)).transpose(1, 2)

    def nearest(self, embedded: Tensor) -> Tensor:
        """(..., C) -> (...), index of the nearest code."""
        return torch.cdist(embedded.reshape(-1, embedded.shape[-1]), self.codebook).argmin(-1).view(embedded.shape[:-1])

    def decode(self, embedded: Tensor) -> Tensor:
        """(B, N, C) codes' vectors -> (B, N*K, 53) coefficients."""
        return self.decoder(embedded.transpose(1, 2)).transpose(1, 2) * self.scale + self.mean

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, round, decode; the gradient passes the rounding straight through.

        Returns:
            Coefficients (B, N*K, 53), vectors before rounding (B, N, C), codes (B, N).
        """
        embedded = self.embed(frames)
        codes = self.nearest(embedded.detach())
        rounded = self.codebook[codes]
        return self.decode(embedded + (rounded - embedded).detach()), embedded, codes

    @property
    def context(self) -> int:
        """Codes before and after one that its frames depend on: one by the first convolution, under two by the rest."""
        return 3
