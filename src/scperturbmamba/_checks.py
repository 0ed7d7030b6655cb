"""Guards at the door: each says what was expected, what was found, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

Slot = Literal["obs", "var", "obsm", "varm", "obsp", "uns", "layers"]


def check_key(adata: AnnData, slot: Slot, key: str, *, made_by: str) -> None:
    """Refuse an ``adata`` that lacks a slot, naming the call that makes it."""
    found = getattr(adata, slot)
    if key not in found:
        names = sorted(str(name) for name in found if name is not None)
        msg = f"`adata.{slot}` has no {key!r}. Run `{made_by}` first. Found: {names}."
        raise KeyError(msg)


def check_column(adata: AnnData, column: str, *, argument: str) -> None:
    """Refuse the name of an ``obs`` column that is not there, with the nearest names."""
    if column not in adata.obs:
        msg = f"`{argument}={column!r}` names no column of `adata.obs`.{did_you_mean(column, adata.obs.columns)}"
        raise KeyError(msg)


def check_choice(value: object, choices: Iterable[object], argument: str) -> None:
    """Refuse a word that is not among the choices."""
    options = list(choices)
    if value not in options:
        msg = f"`{argument}` must be one of {options}; found {value!r}."
        raise ValueError(msg)


def check_fraction(value: float, argument: str) -> None:
    """Refuse a share outside the open interval from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < 1:
        msg = f"`{argument}` must be a number between 0 and 1 (both excluded); found {value!r}."
        raise ValueError(msg)


def check_positive(value: float, argument: str) -> None:
    """Refuse a number that is not above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value > 0:
        msg = f"`{argument}` must be a number above 0; found {value!r}."
        raise ValueError(msg)


def check_whole(value: float, argument: str) -> None:
    """Refuse a number that is not a whole one above zero."""
    check_positive(value, argument)
    if value != int(value):
        msg = f"`{argument}` must be a whole number; found {value!r}."
        raise ValueError(msg)


def check_in_memory(adata: AnnData, *, function: str) -> None:
    """Refuse a backed AnnData where the function needs its arrays in memory."""
    if adata.isbacked:
        msg = f"`{function}` works in memory, but `adata` is backed by {adata.filename}. Pass `adata.to_memory()`."
        raise ValueError(msg)


def check_unique_genes(adata: AnnData) -> None:
    """Refuse gene names that occur twice, showing some."""
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        msg = (
            f"`adata.var_names` must be unique; {len(twice)} names occur more than once, "
            f"such as {list(twice[:3])}. Call `adata.var_names_make_unique()` or sum the copies first."
        )
        raise ValueError(msg)


def check_finite(values: Any, *, what: str) -> None:
    """Refuse NaN or infinite entries in a dense or sparse matrix, naming the first row that holds one."""
    data = values.data if hasattr(values, "indptr") else np.asarray(values)
    bad = ~np.isfinite(data)
    if bad.any():
        row = values.tocoo().row[bad.nonzero()[0]].min() if hasattr(values, "indptr") else bad.nonzero()[0].min()
        msg = (
            f"{what} must be finite; found {int(bad.sum())} NaN or infinite entries, the first in row {row}. "
            "Remove those cells or genes, or fill the entries, before you go on."
        )
        raise ValueError(msg)


def check_log_normalised(adata: AnnData) -> None:
    """Refuse an ``X`` that is empty, holds NaN, or holds whole numbers only, as raw counts do."""
    matrix = adata.X
    if matrix is None:
        msg = "`adata.X` is empty; expected log-normalised expression. Run `spm.pp.normalize(adata)` first."
        raise ValueError(msg)
    check_finite(matrix, what="`adata.X`")
    data = matrix.data if hasattr(matrix, "indptr") else np.asarray(matrix)
    if data.size and data.min() >= 0 and data.max() > 1 and not (data != np.rint(data)).any():
        msg = "`adata.X` holds whole numbers, as raw counts do. Run `spm.pp.normalize(adata)` first."
        raise ValueError(msg)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest known names, or with all of them where they are few."""
    from difflib import get_close_matches

    names = [str(one) for one in known]
    near = get_close_matches(str(name), names, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(one) for one in near)}?"
    return f" Found: {names[:20]}." if names else " There are none."


def optional_import(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which pip line brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{purpose} needs the package {module!r}, which is not installed. pip install "scperturbmamba[{extra}]"'
        raise ImportError(msg) from error


def check_params(params: dict[str, Any]) -> dict[str, Any]:
    """Return flat parameters that survive h5ad and zarr; refuse what does not."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in params.items()}
    for key, value in plain.items():
        if not isinstance(key, str) or "/" in key:
            msg = f"a parameter's name must be a string without '/'; found {key!r}."
            raise TypeError(msg)
        if not (_is_scalar(value) or _is_words(value)):
            msg = f"parameter {key!r} must be str, int, float, bool, None or a list of str; found {value!r}."
            raise TypeError(msg)
    return plain


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def as_names(value: str | Sequence[str]) -> list[str]:
    """Return one name or several as a list."""
    return [value] if isinstance(value, str) else [str(one) for one in value]
