"""A list of genes in, a table out; no AnnData."""
