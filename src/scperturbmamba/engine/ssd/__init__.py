"""The inside of a mixer on any device, in plain torch: fast, exact, with a backward written by hand.

Letters and shapes as in :mod:`scperturbmamba.engine.scan`. A chunk has ``q`` tokens. For tokens i and j of one chunk
and one head,

    y_i = D x_i + sum_j M_ij x_j + read_i[right] C_i . H[right] + read_i[left] C_i . H[left]
    M_ij = (C_i . B_j) exp(min(S_i - S_j, 0) + min(E_j - E_i, 0)) (dt_j[right] [j <= i] + dt_j[left] [j >= i])

S sums the log decay up to a token, E that of the tokens before it. Both fall along the chunk, so one of the two minima
is zero: the lower triangle of M carries what earlier tokens wrote, the upper what later ones did. One matrix product
serves both directions, nothing overflows, and a step of zero neither decays nor writes. H (n, p) is the state that
arrives at a chunk; travelling right, it comes from the chunk on the left.

A few chunks are worked on at a time, so that everything in between stays in the cache:
:mod:`~scperturbmamba.engine.ssd.layout` says which, the other files each hold one step and its gradient, and
:mod:`~scperturbmamba.engine.ssd.mix` puts them together.
"""

from scperturbmamba.engine.ssd.edges import CHUNK, Edges, edges
from scperturbmamba.engine.ssd.mix import Passed, mix, run

__all__ = ["CHUNK", "Edges", "Passed", "edges", "mix", "run"]
