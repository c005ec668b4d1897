"""Augmentation: each image is moved and mirrored for itself, by numbers that were drawn on the CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from workers.augment import flipped, flips, shifted, shifts


def pictures(count: int, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    """Images of random bytes."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)


def moves(count: int, max_shift: int) -> list[list[int]]:
    """The random numbers of a shift, drawn as they have been since the first LeNet."""
    return torch.randint(0, 2 * max_shift + 1, (2, count)).T.tolist()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_image_is_cut_out_of_its_padded_self_where_the_generator_says(
    channels: int, dtype: torch.dtype
) -> None:
    images = pictures(50, channels, 8, 6).to(dtype)
    padded = torch.full((50, channels, 12, 10), 7, dtype=dtype)
    padded[:, :, 2:-2, 2:-2] = images
    torch.manual_seed(3)
    moved = shifted(images, shifts(50, 2), fill=torch.tensor(7, dtype=dtype))
    torch.manual_seed(3)
    expected = [
        image[:, top : top + 8, left : left + 6]
        for image, (top, left) in zip(padded, moves(50, 2), strict=True)
    ]
    assert torch.equal(moved, torch.stack(expected))
    assert moved.dtype == dtype


def test_without_a_fill_the_nearest_pixel_is_repeated() -> None:
    images = torch.arange(9.0).view(1, 1, 3, 3).expand(400, 1, 3, 3)
    torch.manual_seed(0)
    down_and_right, up_and_left = ([[0, 0, 1], [0, 0, 1], [3, 3, 4]], [[4, 5, 5], [7, 8, 8], [7, 8, 8]])
    found = [image[0].tolist() for image in shifted(images, shifts(400, 1))]
    assert len({str(image) for image in found}) == 9
    assert down_and_right in found
    assert up_and_left in found


def test_images_are_shifted_both_ways_independently_and_each_by_at_most_max_shift() -> None:
    images = torch.zeros(1000, 3, 9, 9)
    images[:, :, 4, 4] = torch.arange(1.0, 1001)[:, None]
    torch.manual_seed(0)
    moved = shifted(images, shifts(1000, 2))
    assert torch.equal(moved.amax((2, 3)), images.amax((2, 3)))  # each image is still its own
    places = moved.flatten(2).argmax(2)
    assert torch.equal(places, places[:, :1].expand(-1, 3))  # all channels together
    assert {divmod(int(place), 9) for place in places[:, 0]} == {
        (row, column) for row in range(2, 7) for column in range(2, 7)
    }


def test_a_shift_by_more_than_the_image_is_the_edge_alone() -> None:
    torch.manual_seed(0)
    moved = shifted(pictures(50), shifts(50, 40))
    assert moved.shape == (50, 3, 8, 8)
    assert torch.equal(moved[0, 0, 0], moved[0, 0, 0, :1].expand(8))


def test_without_max_shift_images_are_as_they_were_and_no_number_is_drawn() -> None:
    images, before = pictures(10), torch.get_rng_state()
    assert torch.equal(shifted(images, shifts(10, 0)), images)
    assert torch.equal(torch.get_rng_state(), before)


def test_about_half_of_the_images_are_mirrored_and_the_others_are_as_they_were() -> None:
    images = pictures(1000)
    torch.manual_seed(0)
    mirrored = sum(
        torch.equal(after, before.flip(2))
        for after, before in zip(flipped(images, flips(1000)), images, strict=True)
        if not torch.equal(after, before)
    )
    torch.manual_seed(0)
    same = sum(
        torch.equal(after, before) for after, before in zip(flipped(images, flips(1000)), images, strict=True)
    )
    assert mirrored + same == 1000
    assert 450 < mirrored < 550


@pytest.mark.parametrize("draw", [flips, lambda count: shifts(count, 2)], ids=["flip", "shift"])
def test_the_numbers_are_drawn_on_the_cpu_from_the_global_generator(draw: Callable[[int], Tensor]) -> None:
    torch.manual_seed(0)
    drawn = draw(20)
    assert (drawn.device.type, len(drawn)) == ("cpu", 20)
    assert not torch.equal(draw(20), drawn)
    torch.manual_seed(0)
    assert torch.equal(draw(20), drawn)


CHANGES = [
    lambda images: flipped(images, flips(len(images))),
    lambda images: shifted(images, shifts(len(images), 2)),
]


@pytest.mark.parametrize("change", CHANGES, ids=["flip", "shift"])
def test_the_given_images_are_not_changed(change: Callable[[Tensor], Tensor]) -> None:
    images = pictures(20)
    before = images.clone()
    change(images)
    assert torch.equal(images, before)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    expected = change(images)
    torch.manual_seed(0)
    assert torch.equal(change(channels_last), expected)
