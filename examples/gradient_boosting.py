"""Tune gradient boosting with LightGBM, including its early stopping, through `evodevo.maximise`.

    python -m examples.gradient_boosting  # delete checkpoints/example-boosting to run again

It needs lightgbm and scikit-learn.
"""

import lightgbm
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import evodevo

INPUTS, LABELS = load_breast_cancer(return_X_y=True)
SEEN, UNSEEN, SEEN_LABELS, UNSEEN_LABELS = train_test_split(INPUTS, LABELS, test_size=169, random_state=0)
FIXED = {
    "objective": "binary",
    "metric": "auc",
    "num_threads": 1,
    "deterministic": True,
    "seed": 0,
    "verbose": -1,
}
SPACE = {
    "num_leaves": (2, 32),
    "learning_rate": (0.01, 0.5, "log"),
    "min_data_in_leaf": (1, 40),
    "feature_fraction": (0.2, 1.0),
    "lambda_l2": (1e-6, 10.0, "log"),
}


def folds(**settings):
    """Return the AUC in cross-validation and the number of trees at which it is best."""
    stop = lightgbm.early_stopping(20, verbose=False)
    data = lightgbm.Dataset(SEEN, SEEN_LABELS)
    found = lightgbm.cv({**FIXED, **settings}, data, 200, nfold=4, seed=0, callbacks=[stop])["valid auc-mean"]
    return found[-1], len(found)


def auc(**settings):
    """Return the AUC; workers call this concurrently, hence one thread each."""
    return folds(**settings)[0]


if __name__ == "__main__":
    result = evodevo.maximise(auc, SPACE, population=8, generations=6, name="example-boosting", workers=2)
    settings = dict(result.best.values)
    trees = folds(**settings)[1]
    model = lightgbm.train({**FIXED, **settings}, lightgbm.Dataset(SEEN, SEEN_LABELS), trees)
    print(f"AUC {result.best.fom:.4f} in cross-validation with {trees} trees and {settings}")
    unseen = roc_auc_score(UNSEEN_LABELS, model.predict(UNSEEN))
    print(f"AUC {unseen:.4f} on held-out patients")
    result.plot(result.directory / "progress.png")
