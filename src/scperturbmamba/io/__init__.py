"""Hand results to other tools, and take theirs: cell-eval, GEARS, the Virtual Cell Challenge."""

from scperturbmamba.io._cell_eval import to_cell_eval
from scperturbmamba.io._gears import to_gears
from scperturbmamba.io._predictions import read_predictions
from scperturbmamba.io._vcc import write_vcc

__all__ = ["read_predictions", "to_cell_eval", "to_gears", "write_vcc"]
