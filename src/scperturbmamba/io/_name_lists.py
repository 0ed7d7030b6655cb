"""Lists of names, given as such or as files."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_TABLES = {".csv": ",", ".tsv": "\t"}
_HEADERS = frozenset(
    {
        "gene", "genes", "gene_name", "gene_names", "gene_symbol", "symbol", "target_gene", "target_genes",
        "perturbation", "perturbations",
    }
)  # fmt: skip


def read_names(names: Sequence[str] | str | Path, argument: str) -> list[str]:
    """Return names from a list, a file with one per line, or the first column of a ``.csv`` or ``.tsv``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        There are no names, or one occurs twice.
    """
    if isinstance(names, (str, Path)):
        found = _from_file(Path(names), argument)
    else:
        found = [str(name) for name in names]
    twice = [name for name, n in Counter(found).items() if n > 1]
    if twice or not found:
        what = f"{len(twice)} names more than once, such as {twice[:3]}. Leave the copies out" if twice else "none"
        msg = f"`{argument}` must list names, each once; found {what}."
        raise ValueError(msg)
    return found


def _from_file(path: Path, argument: str) -> list[str]:
    if not path.is_file():
        msg = (
            f"`{argument}` must be a list of names or a file with one per line; there is no file {str(path)!r}. "
            f"Pass one name as a list: `{argument}=[{str(path)!r}]`."
        )
        raise FileNotFoundError(msg)
    text = path.read_text(encoding="utf-8-sig").splitlines()
    mark = _TABLES.get(path.suffix.lower())
    cells = text if mark is None else [row[0] if row else "" for row in csv.reader(text, delimiter=mark)]
    names = [cell.strip() for cell in cells if cell.strip()]
    return names[1:] if names and names[0].casefold() in _HEADERS else names
