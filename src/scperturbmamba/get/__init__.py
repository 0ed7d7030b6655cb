"""Tidy tables out of slots; nothing is written."""

from scperturbmamba.get._effects import effects
from scperturbmamba.get._records import history, scores
from scperturbmamba.get._similar import similar

__all__ = ["effects", "history", "scores", "similar"]
