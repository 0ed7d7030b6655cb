"""The knowledge core for tables of effects with gaps."""

from scperturbmamba.models.sparse.gaps import is_sparse
from scperturbmamba.models.sparse.knowledge import SparseKnowledge

__all__ = ["SparseKnowledge", "is_sparse"]
