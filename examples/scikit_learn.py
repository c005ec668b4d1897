"""Tune a scikit-learn estimator by cross-validation, through `evodevo.maximise`.

python -m examples.scikit_learn  # needs scikit-learn; leaves no files
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import evodevo

IMAGES, LABELS = load_digits(return_X_y=True)
SEEN, UNSEEN, SEEN_LABELS, UNSEEN_LABELS = train_test_split(IMAGES, LABELS, test_size=797, random_state=0)
SPACE = {
    "kernel": ["rbf", "poly"],
    "C": (1e-3, 1e3, "log"),
    "gamma": (1e-5, 1e1, "log"),
    "degree": {"type": "int", "low": 2, "high": 5, "when": {"kernel": "poly"}},
}


def estimator(**settings):
    return make_pipeline(StandardScaler(), SVC(**settings))


def accuracy(**settings):
    """Return the mean accuracy over five folds; workers call this."""
    return cross_val_score(estimator(**settings), SEEN, SEEN_LABELS, cv=5).mean()


if __name__ == "__main__":
    result = evodevo.maximise(accuracy, SPACE, population=8, generations=8, workers=2)
    settings = dict(result.best.values)
    final = estimator(**settings).fit(SEEN, SEEN_LABELS)
    print(f"accuracy {result.best.fom:.4f} in cross-validation with {settings}")
    print(f"accuracy {final.score(UNSEEN, UNSEEN_LABELS):.4f} on held-out digits")
    print(f"accuracy {estimator().fit(SEEN, SEEN_LABELS).score(UNSEEN, UNSEEN_LABELS):.4f} with the defaults")
