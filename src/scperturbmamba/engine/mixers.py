"""Mixers pass information along the sequence: bidirectional Mamba-2, an LSTM, or none."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.kernels import Engine, mix
from scperturbmamba.engine.scan import EPS, Weights

_FASTEST = 1 / 8  # the quickest head forgets over 8 tokens, the slowest over four times the sequence


class BiMamba2(nn.Module):
    """Mamba-2 that reads both ways: one projection, one centred convolution, a decay and a step per direction.

    Decay rates are spread for the length of the sequence: with the usual initialisation a token is forgotten after
    a few hundred others, and a condition at the head of 18,000 genes reaches few of them.
    """

    def __init__(self, config: NetConfig, length: int) -> None:
        super().__init__()
        self.inner = config.width * config.expand
        self.state = config.state
        self.heads = self.inner // config.head_width
        self.engine: Engine = "auto"
        mixed = self.inner + 2 * self.state
        self.in_proj = nn.Linear(config.width, self.inner + mixed, bias=False)
        self.dt_proj = nn.Linear(config.width, 2 * self.heads, bias=False)
        self.conv = nn.Conv1d(mixed, mixed, config.kernel, padding=config.kernel // 2, groups=mixed)
        rate = _spread_rates(self.heads, length)
        dt = torch.sqrt(2 * rate)  # a long memory writes softly: its state keeps unit scale
        self.log_A = nn.Parameter((rate / dt).log().expand(2, -1).clone())
        self.dt_bias = nn.Parameter(_inverse_softplus(dt).expand(2, -1).clone())
        # all that the genes write grows with the root of their number, and so must the one write of the condition
        own = torch.tensor(max(1.0, math.sqrt(length) / 13))
        self.dt_condition = nn.Parameter(-self.dt_bias.detach() + _inverse_softplus(own))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.RMSNorm(self.inner, eps=EPS)
        self.out_proj = nn.Linear(self.inner, config.width, bias=False)
        with torch.no_grad():
            self.dt_proj.weight *= 0.1  # steps start near their bias

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Mix tokens (b, l, width); with a condition, token 0 is it and writes with a step of its own."""
        out: Tensor = self.out_proj(mix(*self.read(u, has_condition=has_condition), engine=self.engine))
        return out

    def read(self, u: Tensor, *, has_condition: bool) -> tuple[Tensor, Weights, Tensor, Tensor]:
        """Return what lies between the projections gets: its input, weights, steps (b, l, 2, h) and rates (2, h)."""
        dt = self.dt_proj(u).float().unflatten(-1, (2, self.heads))
        dt = F.softplus(self._steps(dt, has_condition))
        weights = Weights(self.conv.weight[:, 0], self.conv.get_parameter("bias"), self.D, self.norm.weight)
        return self.in_proj(u), weights, dt, -torch.exp(self.log_A.float())

    def _steps(self, raw: Tensor, has_condition: bool) -> Tensor:
        raw = raw + self.dt_bias.float()
        if not has_condition:
            return raw
        return torch.cat([raw[:, :1] + self.dt_condition.float(), raw[:, 1:]], dim=1)


class BiLSTM(nn.Module):
    """A bidirectional LSTM, half the width for each direction."""

    def __init__(self, config: NetConfig, length: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.width, config.width // 2, bidirectional=True, batch_first=True)
        with torch.no_grad():  # forget gates start open, so that the condition travels
            for name, bias in self.lstm.named_parameters():
                if name.startswith("bias_ih"):
                    bias[config.width // 2 : config.width] = math.log(max(length, 2))

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Mix tokens (b, l, width)."""
        out: Tensor = self.lstm(u)[0]
        return out


class TokenMLP(nn.Module):
    """A gated perceptron with about as many weights as a Mamba-2: each token for itself."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        hidden = config.width * config.expand + config.state
        self.into = nn.Linear(config.width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, config.width, bias=False)

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Change tokens (b, l, width)."""
        value, gate = self.into(u).chunk(2, dim=-1)
        out: Tensor = self.out(value * F.silu(gate))
        return out


class Layer(nn.Module):
    """A residual layer: normalise, mix, add."""

    def __init__(self, config: NetConfig, length: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        self.mixer = _mixer(config, length)
        self.dropout = nn.Dropout(config.dropout)
        self.checkpoint = config.checkpoint

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Return tokens of the same shape (b, l, width)."""
        if self.checkpoint and torch.is_grad_enabled():
            mixed: Tensor = checkpoint(self._mix, u, has_condition, use_reentrant=False)
            return u + mixed
        return u + self._mix(u, has_condition)

    def _mix(self, u: Tensor, has_condition: bool) -> Tensor:
        mixed: Tensor = self.dropout(self.mixer(self.norm(u.float()), has_condition=has_condition))
        return mixed


def _mixer(config: NetConfig, length: int) -> nn.Module:
    if config.mixer == "mlp":
        return TokenMLP(config)
    return BiMamba2(config, length) if config.mixer == "mamba2" else BiLSTM(config, length)


def _spread_rates(heads: int, length: int) -> Tensor:
    """Return decay rates per token from 1/8 to 1/(4 length), evenly in the log; the slowest keeps .78 to the end."""
    slowest = 1 / (4 * max(length, 8))
    return torch.logspace(math.log10(_FASTEST), math.log10(slowest), heads)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))
