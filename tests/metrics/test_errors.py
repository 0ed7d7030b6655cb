import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_absolute_error, mean_squared_error

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(lambda genes: arrays(np.float64, (2, 3, genes), elements=whole))


@settings(deadline=None)
@given(pairs)
def test_errors_agree_with_sklearn_and_numpy(drawn):
    a, b = drawn
    np.testing.assert_allclose(metrics.mse(a, b), mean_squared_error(a.T, b.T, multioutput="raw_values"))
    np.testing.assert_allclose(metrics.mae(a, b), mean_absolute_error(a.T, b.T, multioutput="raw_values"))
    np.testing.assert_allclose(metrics.l2(a, b), np.linalg.norm(a - b, axis=1))


def test_one_row_can_be_given_flat():
    assert metrics.l2([3.0, 0.0], [0.0, 4.0]).tolist() == [5.0]
