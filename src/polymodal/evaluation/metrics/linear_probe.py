"""Linear probe: what a linear function can read from representations."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def linear_probe(features: np.ndarray, classes: np.ndarray, *, folds: int = 3, seed: int = 0) -> np.ndarray | None:
    """(n,) 1 where logistic regression, fitted on the other folds, finds a row's class, else 0.

    Rows of classes with fewer rows than folds are 0. The result is None if fewer than two classes have enough rows.

    Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

    Args:
        features: (n, F).
        classes: (n,) number of the class of each row.
        folds: Number of folds of the cross-validation.
        seed: Seed of the folds.
    """
    values, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    kept = counts[inverse] >= folds
    if len(values[counts >= folds]) < 2:
        return None
    right = np.zeros(len(classes))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.1))
    order = StratifiedKFold(folds, shuffle=True, random_state=seed)
    right[kept] = cross_val_predict(probe, features[kept], classes[kept], cv=order) == classes[kept]
    return right
