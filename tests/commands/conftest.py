"""The data set of the runs' tests, for the verbs that train and test on it."""

from tests.running.conftest import dataset

__all__ = ["dataset"]
