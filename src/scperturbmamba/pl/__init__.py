"""Figures; nothing is written into the AnnData."""

from scperturbmamba.pl._effects import agreement, effect
from scperturbmamba.pl._guides import guides
from scperturbmamba.pl._qc import knockdown, qc
from scperturbmamba.pl._scores import scores
from scperturbmamba.pl._training import loss_curves

__all__ = ["agreement", "effect", "guides", "knockdown", "loss_curves", "qc", "scores"]
