"""Effects over perturbations, doses and contexts."""

from scperturbmamba.models.surface.here import SurfaceHere
from scperturbmamba.models.surface.surface import Surface

__all__ = ["Surface", "SurfaceHere"]
