import numpy as np
import pandas as pd
import pytest

from scperturbmamba.features.genome import CHROMOSOMES, LENGTHS, UNKNOWN, chromosome_codes


def test_there_are_24_chromosomes_and_a_code_for_the_rest():
    assert len(CHROMOSOMES) == len(LENGTHS) == UNKNOWN == 24


@pytest.mark.parametrize("spelling", ["1", "chr1", "Chr1", "CHR1", "01", 1, 1.0, "chromosome 1", " 1 "])
def test_every_spelling_of_chromosome_1_has_code_0(spelling):
    assert chromosome_codes([spelling]).tolist() == [0]


def test_codes_run_over_autosomes_then_x_and_y():
    assert chromosome_codes([f"chr{name}" for name in CHROMOSOMES]).tolist() == list(range(24))
    assert chromosome_codes(["x", "chry"]).tolist() == [22, 23]


@pytest.mark.parametrize(
    "other", ["MT", "chrM", "chr1_KI270706v1_random", "KI270728.1", "0", "23", "", None, np.nan, 1.5]
)
def test_what_is_no_chromosome_is_unknown(other):
    assert chromosome_codes([other]).tolist() == [UNKNOWN]


@pytest.mark.data
def test_lengths_are_those_of_the_primary_assembly(shared_data):
    table = pd.read_csv(shared_data / "knowledge" / "grch38_chromosome_lengths.csv", dtype={"chr": str})
    published = table.set_index("chr")["length"]
    assert published[list(CHROMOSOMES)].tolist() == LENGTHS.tolist()
