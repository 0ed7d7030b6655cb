import numpy as np
import pandas as pd
from anndata import AnnData

import scperturbmamba as spm
from scperturbmamba.data.screen_units import screen_units


def test_each_drug_has_the_unit_that_its_doses_were_converted_to():
    labels = ["DMSO", "x@1 uM", "x@10 nM", "x@20 nM", "(+)-JQ1@3 mg/kg", "z@5", "TP53", "TP53+v@2 nM"]
    obs = pd.DataFrame({"label": labels}, index=[f"c{number}" for number in range(len(labels))])
    adata = AnnData(np.ones((len(labels), 2), np.float32), obs=obs, var=pd.DataFrame(index=["TP53", "MYC"]))
    assert screen_units(adata) == {}
    spm.pp.perturbation_labels(adata, "label")
    assert screen_units(adata) == {"x": "nM", "(+)-JQ1": "mg/kg", "v": "nM"}
