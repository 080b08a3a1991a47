"""Whether a defense knows the attack's queries: a two-sample classifier and the Fréchet distance of features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from arena.contracts import Count

FOLDS = 5
RIDGE = 1e-6


def two_sample_accuracy(first: Tensor, second: Tensor) -> Count:
    """Count how often a logistic regression recognises to which of two feature sets (N, F), (M, F) a row belongs.

    The sets are cut to equal size. By 5-fold cross-validation, every row is classified by a model that was not trained
    on it. If half of the rows are right, the sets are indistinguishable.
    """
    # Imported here because it takes a second, and most matches have no outliers.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size = min(len(first), len(second))
    features = torch.cat([first[:size], second[:size]]).double().numpy()
    sides = np.repeat([0, 1], size)
    folds = StratifiedKFold(n_splits=min(FOLDS, size), shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    guessed = cross_val_predict(model, features, sides, cv=folds)
    return Count(int((guessed == sides).sum()), 2 * size)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) for features (N, F) and (M, F), N, M >= 2."""
    mean_gap = first.double().mean(dim=0) - second.double().mean(dim=0)
    one, two = (_covariance(features) for features in (first, second))
    root = _square_root(one)
    cross = _square_root(root @ two @ root)
    return float(mean_gap.square().sum() + torch.trace(one) + torch.trace(two) - 2 * torch.trace(cross))


def _covariance(features: Tensor) -> Tensor:
    centred = features.double() - features.double().mean(dim=0)
    return centred.T @ centred / (len(features) - 1) + RIDGE * torch.eye(features.shape[1], dtype=torch.float64)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    root: Tensor = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    return root
