"""Toy worlds, whose truth is known, and loaders for public screens."""

from scperturbmamba.datasets._toy import toy
from scperturbmamba.datasets._toy_drugs import toy_drugs

__all__ = ["toy", "toy_drugs"]
