"""Models of the inverse task: from a transcriptome to the perturbation behind it."""
