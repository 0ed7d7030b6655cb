"""Figures; nothing is written into the AnnData."""

from scperturbmamba.pl._context_heatmap import context_heatmap
from scperturbmamba.pl._dose_response import dose_response
from scperturbmamba.pl._effects import agreement, effect
from scperturbmamba.pl._gains import gains
from scperturbmamba.pl._guides import guides
from scperturbmamba.pl._inverse_confusion import inverse_confusion
from scperturbmamba.pl._inverse_f1 import inverse_f1
from scperturbmamba.pl._inverse_ranking import inverse_ranking
from scperturbmamba.pl._paired import paired
from scperturbmamba.pl._qc import knockdown, qc
from scperturbmamba.pl._reliability import reliability
from scperturbmamba.pl._scores import scores
from scperturbmamba.pl._similarity import similarity
from scperturbmamba.pl._strata import strata
from scperturbmamba.pl._training import loss_curves

__all__ = [
    "agreement",
    "context_heatmap",
    "dose_response",
    "effect",
    "gains",
    "guides",
    "inverse_confusion",
    "inverse_f1",
    "inverse_ranking",
    "knockdown",
    "loss_curves",
    "paired",
    "qc",
    "reliability",
    "scores",
    "similarity",
    "strata",
]
