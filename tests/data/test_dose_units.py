import pytest
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.data.dose_units import KNOWN, common_units, convert, family_of, find_unit, read_unit

GRAMS_OR_MOLES = {"M": 1.0, "mM": 1e-3, "uM": 1e-6, "nM": 1e-9, "pM": 1e-12,
                  "g/L": 1.0, "mg/mL": 1.0, "ug/mL": 1e-3, "ng/mL": 1e-6, "pg/mL": 1e-9,
                  "mg/kg": 1e-3, "ug/kg": 1e-6, "%": 1.0, "relative": 1.0}  # fmt: skip
units = st.sampled_from(KNOWN)


@pytest.mark.parametrize(
    ("unit", "spellings"),
    [
        ("uM", ["uM", "um", "UM", "µM", "μM", "mcM", "micromolar", "umol/L", "µmol/l", " uM ", "u M"]),
        ("nM", ["nM", "nm", "NM", "nanomolar", "nmol/L"]),
        ("mM", ["mM", "mm", "millimolar", "mmol/L"]),
        ("M", ["M", "molar", "mol/L"]),
        ("pM", ["pM", "pm"]),
        ("mg/mL", ["mg/mL", "mg/ml", "mg / ml", "mg per mL"]),
        ("ug/mL", ["ug/mL", "µg/ml", "μg/mL", "mcg/mL", "mg/L"]),
        ("ng/mL", ["ng/ml", "ug/L"]),
        ("g/L", ["g/l"]),
        ("mg/kg", ["mg/kg", "MG/KG"]),
        ("ug/kg", ["µg/kg"]),
        ("%", ["%", "percent"]),
        ("relative", ["Relative"]),
    ],
)
def test_a_unit_is_read_in_its_usual_spellings(unit, spellings):
    assert {read_unit(one) for one in spellings} == {unit}


@pytest.mark.parametrize("text", ["m", "MM", "Mm"])
def test_what_may_be_molar_or_millimolar_is_refused(text):
    assert find_unit(text) == ""
    with pytest.raises(ValueError, match="Molar is written 'M', millimolar 'mM'"):
        read_unit(text)


@pytest.mark.parametrize("text", ["", "parsec", "uMM", "g", "mL"])
def test_what_is_no_unit_is_refused_with_those_that_are(text):
    assert find_unit(text) == ""
    with pytest.raises(ValueError, match=r"one of \['M', 'mM', 'uM', .*'%', 'relative'\]"):
        read_unit(text)


@given(units, units, st.floats(1e-6, 1e6))
def test_a_conversion_keeps_the_amount_and_comes_back(one, other, dose):
    if family_of(one) != family_of(other):
        with pytest.raises(ValueError, match="cannot be converted"):
            convert(dose, one, other)
        return
    there = convert(dose, one, other)
    assert there * GRAMS_OR_MOLES[other] == pytest.approx(dose * GRAMS_OR_MOLES[one], rel=1e-11)
    assert convert(there, other, one) == pytest.approx(dose, rel=1e-11)


@given(st.integers(1, 999), st.sampled_from([("uM", "nM"), ("nM", "uM"), ("mg/kg", "ug/kg"), ("mM", "uM")]))
def test_decimal_doses_stay_decimal(dose, pair):
    one, other = pair
    factor = GRAMS_OR_MOLES[one] / GRAMS_OR_MOLES[other]
    text = f"{dose}e{3 if factor > 1 else -3}"
    assert convert(dose, one, other) == float(text)


@given(st.dictionaries(units, st.integers(1, 3), min_size=1))
def test_the_common_unit_of_a_family_is_the_commonest_and_of_several_the_largest(counts):
    common = common_units(counts)
    assert set(common) == set(counts)
    for unit, chosen in common.items():
        rivals = [one for one in counts if family_of(one) == family_of(unit)]
        assert chosen in rivals
        most = max(counts[one] for one in rivals)
        assert counts[chosen] == most
        assert GRAMS_OR_MOLES[chosen] == max(GRAMS_OR_MOLES[one] for one in rivals if counts[one] == most)
