"""Anchors: k-means on sizes whose clusters are known."""

import pytest
import torch

from tests.configs import complaint
from workers.detection.anchors import fitted, mean_best_iou


def test_three_clusters_are_found_at_their_means_from_small_to_large() -> None:
    sizes = torch.tensor([[100.0, 52], [8, 10], [30, 30], [100, 48], [32, 28], [12, 10], [28, 32]])
    assert fitted(sizes, 3).tolist() == [[10, 10], [30, 30], [100, 50]]


def test_the_fit_does_not_depend_on_anything_global() -> None:
    sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 90 + 10
    first = fitted(sizes, 9)
    torch.rand(5)
    assert torch.equal(first, fitted(sizes, 9))
    assert (first.prod(-1).diff() >= 0).all()


def test_more_anchors_fit_better_than_fewer_and_as_well_as_one_each() -> None:
    sizes = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 90 + 10
    fits = [mean_best_iou(sizes, fitted(sizes, count)) for count in (1, 3, 9, 50)]
    assert fits == sorted(fits)
    assert fits[-1] == pytest.approx(1.0, abs=1e-6)


def test_too_few_sizes_are_made_up_for_by_larger_ones() -> None:
    assert fitted(torch.tensor([[10.0, 20], [10, 20]]), 3).tolist() == [[10, 20], [15, 30], [22.5, 45]]


def test_sizes_without_area_are_left_out() -> None:
    assert fitted(torch.tensor([[0.0, 20], [10, 20], [5, -1]]), 1).tolist() == [[10, 20]]


def test_no_object_at_all_is_an_error_that_says_what_to_give() -> None:
    assert "workload.options.anchors" in complaint(lambda: fitted(torch.zeros(0, 2), 9))


def test_the_fit_of_no_objects_is_zero() -> None:
    assert mean_best_iou(torch.zeros(0, 2), torch.ones(3, 2)) == 0.0
