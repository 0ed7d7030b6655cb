"""Models that fit a bundle and predict conditions; none of them has heard of AnnData."""
