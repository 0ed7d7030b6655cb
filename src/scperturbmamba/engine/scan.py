"""The bidirectional state-space scan of Mamba-2: its definition, and the fast exact form.

Letters as in the paper (Dao and Gu, 2024), shapes everywhere the same:

==== ================ =======================================================
x    (b, l, h, p)     input, h heads of p channels
dt   (b, l, 2, h)     step sizes, not negative; index 0 reads left to right, 1 right to left
A    (2, h)           decay rates, not positive
B    (b, l, n)        what a token writes, shared by heads and directions
C    (b, l, n)        what a token reads
y    (b, l, h, p)     sum of both directions
==== ================ =======================================================
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scperturbmamba.engine.chunk import mix_inside

CHUNK = 32


def scan_sequential(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Scan token by token: the definition, and the oracle of every other form."""
    b, l, h, p = x.shape
    y = torch.zeros_like(x)
    for direction, order in ((0, range(l)), (1, range(l - 1, -1, -1))):
        state = x.new_zeros(b, h, p, B.shape[-1])
        outputs: dict[int, Tensor] = {}
        for t in order:
            step = dt[:, t, direction]  # (b, h)
            decay = torch.exp(step * A[direction])
            write = torch.einsum("bhp,bn->bhpn", step[..., None] * x[:, t], B[:, t])
            state = decay[..., None, None] * state + write
            outputs[t] = torch.einsum("bhpn,bn->bhp", state, C[:, t])
        y = y + torch.stack([outputs[t] for t in range(l)], dim=1)
    return y


def scan_chunked(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Scan in chunks, both directions in one set of matrix products; linear in the length, exact.

    Inside a chunk the two directions share one matrix: its lower triangle holds what earlier tokens wrote, its
    upper triangle what later ones did. Between chunks a state travels each way.
    """
    l = x.shape[1]
    x, dt, B, C = (_pad(one, chunk) for one in (x, dt, B, C))  # dt = 0 neither decays nor writes
    b, padded, h, p = x.shape
    c = padded // chunk
    x, B, C = x.view(b, c, chunk, h, p), B.view(b, c, chunk, -1), C.view(b, c, chunk, -1)
    dt = dt.view(b, c, chunk, 2, h)

    # 1. Log decay from the chunk's edge: S_i over tokens up to i; E_i over tokens before i, seen from the right.
    log_decay = dt * A
    S = log_decay[..., 0, :].cumsum(2)  # (b, c, q, h)
    E = log_decay[..., 1, :].cumsum(2) - log_decay[..., 1, :]
    total = log_decay.sum(2)  # (b, c, 2, h)

    # 2. Inside the chunk.
    reads = torch.einsum("bcin,bcjn->bcij", C, B)
    y = mix_inside(x, reads, S, E, dt)

    # 3. What each chunk hands over, and the states that arrive at each chunk.
    to_right = torch.exp(total[:, :, None, 0] - S) * dt[..., 0, :]
    to_left = torch.exp(E) * dt[..., 1, :]
    from_left = _pass_on(torch.einsum("bcjn,bcjhp->bcnhp", B, to_right[..., None] * x), total[:, :, 0])
    from_right = _pass_on(torch.einsum("bcjn,bcjhp->bcnhp", B, to_left[..., None] * x).flip(1), total[:, :, 1].flip(1))

    # 4. What each token reads of them.
    y = y + torch.exp(S)[..., None] * torch.einsum("bcin,bcnhp->bcihp", C, from_left)
    reach = torch.exp(total[:, :, None, 1] - E)
    y = y + reach[..., None] * torch.einsum("bcin,bcnhp->bcihp", C, from_right.flip(1))
    return y.reshape(b, padded, h, p)[:, :l]


def _pad(value: Tensor, chunk: int) -> Tensor:
    missing = -value.shape[1] % chunk
    return F.pad(value, [0, 0] * (value.ndim - 2) + [0, missing]) if missing else value


def _pass_on(given: Tensor, log_decay: Tensor) -> Tensor:
    """Return the state that arrives at each chunk: given (b, c, n, h, p), log_decay (b, c, h); none at the first."""
    keep = torch.exp(log_decay)[:, :, None, :, None]
    state = torch.zeros_like(given[:, 0])
    arriving = [state]
    for c in range(given.shape[1] - 1):
        state = keep[:, c] * state + given[:, c]
        arriving.append(state)
    return torch.stack(arriving, dim=1)
