"""The hall: the only bridge from AnnData to arrays."""
