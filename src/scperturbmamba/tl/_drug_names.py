"""The names of a screen that are drugs, those that are genes, and how the names of a table fit them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.kinds import DRUG
from scperturbmamba.data.screen_kinds import with_kinds
from scperturbmamba.data.words import words_of

_NAMED = (DRUG, "other")


@dataclass(frozen=True)
class ScreenNames:
    """The names in the conditions of a screen.

    Attributes
    ----------
    drugs
        Parts of kind drug or other, or with a dose, and the drugs asked for.
    others
        Parts of which the screen does not say what they are.
    genes
        Measured genes, and genes perturbed alone.
    """

    drugs: frozenset[str]
    others: frozenset[str]
    genes: frozenset[str]

    @classmethod
    def of(cls, adata: AnnData, asked: Sequence[str]) -> ScreenNames:
        """Read the conditions.

        Raises
        ------
        ValueError
            A drug is called like a gene.
        """
        labels = adata.obs[_keys.PERTURBATION].dropna().drop_duplicates()
        drugs, others, genes = set(asked), set(), set(map(str, adata.var_names))
        for condition in with_kinds(adata, words_of(labels)):
            for part in condition.parts:
                if part.kind in _NAMED or part.dose is not None:
                    drugs.add(part.name)
                elif not part.kind or len(condition.parts) > 1:
                    others.add(part.name)
                else:
                    genes.add(part.name)
        screen = cls(frozenset(drugs), frozenset(others - drugs - genes), frozenset(genes))
        screen.refuse_genes(drugs)
        return screen

    def refuse_genes(self, drugs: Iterable[str]) -> None:
        """Refuse drugs that are called like a gene, whose features they would get."""
        both = sorted(self.genes.intersection(drugs))
        if both:
            msg = (
                f"drugs must not be called like genes of the screen; found {both[:10]}. Features are found by name. "
                'Give the drugs other names: `spm.pp.perturbation_labels(adata, ..., rename={"MET": "metformin"})`.'
            )
            raise ValueError(msg)

    def names_for(self, given: Iterable[str]) -> dict[str, str]:
        """Return the name of the screen for each name of a table, itself where there is none.

        Names must be equal, or differ by case only where no other name of the table or of the screen does.
        """
        names = list(dict.fromkeys(given))
        own = self.drugs | self.others
        in_table, in_screen = (Counter(name.casefold() for name in some) for some in (names, own))
        by_case = {name.casefold(): name for name in own}
        return {
            name: by_case[folded]
            if name not in own and in_table[folded := name.casefold()] == in_screen[folded] == 1
            else name
            for name in names
        }
