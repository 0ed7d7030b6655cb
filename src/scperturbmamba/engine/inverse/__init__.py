"""Networks of the inverse task: from the expression of genes to the perturbed ones."""
