import warnings

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def sides():
    """Return truth and prediction, (6 × 50), hardly related, so that no score is at its best."""
    random = np.random.default_rng(1)
    truth = random.normal(size=(6, 50))
    return truth, truth / 20 + random.normal(size=(6, 50))
