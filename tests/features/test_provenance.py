import numpy as np
import pandas as pd

from scperturbmamba.features.provenance import fingerprint


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path):
    import hashlib

    (tmp_path / "a").write_bytes(b"genes")
    (tmp_path / "b").write_bytes(b"genes")
    assert fingerprint(tmp_path / "a") == fingerprint(str(tmp_path / "b")) == hashlib.sha256(b"genes").hexdigest()


def test_a_changed_input_has_another_fingerprint():
    table = pd.DataFrame({"a": [1.0, 2.0]}, index=["A", "B"])
    array = np.arange(6.0).reshape(2, 3)
    sets = {"S": ["A", "B"], "T": ["C"]}
    pairs = [
        (table, table.assign(a=[1.0, 2.5])),
        (table, table.rename(index={"A": "C"})),
        (array, array.reshape(3, 2)),
        (sets, {"S": ["A"], "T": ["B", "C"]}),
        (["A", "B"], ["B", "A"]),
    ]
    for one, other in pairs:
        assert fingerprint(one) != fingerprint(other)
        assert fingerprint(one) == fingerprint(one)


def test_the_order_of_sets_read_back_from_a_file_does_not_matter():
    assert fingerprint({"S": ["A"], "T": np.array(["B"])}) == fingerprint({"T": ["B"], "S": ["A"]})
