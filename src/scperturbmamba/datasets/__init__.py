"""The toy world, whose truth is known, and loaders for public screens."""

from scperturbmamba.datasets._toy import toy

__all__ = ["toy"]
