"""The seq2seq with attention, small, against its formulas worked step by step."""

import pytest
import torch
from torch import Tensor, nn

from workers import seq2seq
from workers.data.translation import BEGIN, END, PADDING, pad
from workers.seq2seq import Seq2Seq

SOURCE = pad([[3, 4, 5, 6, 7], [8, 3], [5, 5, 5]])
TARGET = pad([[4, 6, END], [3, 9, 5, 5, 8, END], [END]])
ROWS = [(0, 3), (3, 9), (9, 10)]
"""Return the positions of each target's words among all that are not padding."""


def small(layers: int = 2, seed: int = 0) -> Seq2Seq:
    """In float64, so that what should be equal is so to many places; larger weights than it begins with."""
    torch.manual_seed(seed)
    model = Seq2Seq(source_words=10, target_words=12, units=6, layers=layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0)
    return model


@pytest.fixture
def model() -> Seq2Seq:
    return small()


def test_it_has_a_loss_for_each_target_word_that_is_not_padding_row_by_row(model: Seq2Seq) -> None:
    losses = model(SOURCE, TARGET)
    assert (losses.shape, losses.dtype) == ((10,), torch.float32)
    for row, (start, end) in enumerate(ROWS):
        alone = model(SOURCE[row : row + 1], TARGET[row : row + 1])
        torch.testing.assert_close(alone, losses[start:end])


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_changes_no_loss(layers: int) -> None:
    model = small(layers)
    wide = [torch.cat([tensor, torch.full((3, 4), PADDING)], 1) for tensor in (SOURCE, TARGET)]
    torch.testing.assert_close(model(*wide), model(SOURCE, TARGET))
    for row, (start, end) in enumerate(ROWS):
        source, target = (tensor[row, tensor[row] != PADDING][None] for tensor in (SOURCE, TARGET))
        torch.testing.assert_close(model(source, target), model(SOURCE, TARGET)[start:end])


def test_padding_gets_no_gradient(model: Seq2Seq) -> None:
    assert not (SOURCE == 0).any()  # which is what padding is looked up as
    assert not (TARGET == 0).any()
    model(SOURCE, TARGET).sum().backward()
    for embedding in (model.source_embedding, model.target_embedding):
        assert embedding.weight.grad is not None
        assert float(embedding.weight.grad[0].abs().sum()) == 0.0
        assert float(embedding.weight.grad[3].abs().sum()) > 0.0


def test_the_loss_of_a_word_depends_on_the_words_before_it_and_not_on_those_after(model: Seq2Seq) -> None:
    losses = model(SOURCE[1:2], TARGET[1:2])
    changed = TARGET[1:2].clone()
    changed[0, 2] = 7
    others = model(SOURCE[1:2], changed)
    assert torch.equal(others[:2], losses[:2])
    assert (others[2:] != losses[2:]).all()


def test_steps_one_by_one_give_the_losses_of_a_whole_sentence(model: Seq2Seq) -> None:
    state = model.begin(SOURCE)
    words = torch.full((3,), BEGIN)
    summed = torch.zeros(3)
    for place in range(TARGET.shape[1]):
        chances, state = model.step(words, state)
        torch.testing.assert_close(chances.exp().sum(-1), torch.ones(3))
        words = TARGET[:, place].clamp(min=0)
        summed += torch.where(TARGET[:, place] != PADDING, chances[torch.arange(3), words], 0.0)
    losses = model(SOURCE, TARGET)
    torch.testing.assert_close(-summed, torch.stack([losses[start:end].sum() for start, end in ROWS]))


def test_the_decoder_begins_where_the_encoder_ended_after_the_last_real_word(model: Seq2Seq) -> None:
    _, _, hidden, cell = model.begin(SOURCE)
    _, (expected_hidden, expected_cell) = model.encoder(model.source_embedding(SOURCE[1:2, :2]))
    torch.testing.assert_close(hidden[1], expected_hidden[:, 0])
    torch.testing.assert_close(cell[1], expected_cell[:, 0])


def test_attention_follows_the_formulas_of_the_paper(model: Seq2Seq) -> None:
    """score(h, s) = h W_a s, weights = softmax over the real places, tanh(W_c [c; h])."""
    torch.manual_seed(1)
    model.requires_grad_(False)
    hidden, memory = torch.randn(1, 2, 6).double(), torch.randn(1, 4, 6).double()
    found = model.attend(hidden, memory, torch.tensor([[True, True, True, False]]))
    for place in range(2):
        h = hidden[0, place]
        raised = [float((model.score.weight @ h) @ memory[0, source]) for source in range(3)]
        chances = torch.tensor(raised).double().exp()
        context = sum(
            (weight * memory[0, source] for source, weight in enumerate(chances / chances.sum())),
            torch.zeros(6).double(),
        )
        expected = torch.tanh(model.combine.weight @ torch.cat([context, h]))
        torch.testing.assert_close(found[0, place], expected, rtol=1e-5, atol=1e-6)


def test_attention_of_known_weights() -> None:
    """Scores ln 3 and 0, and a third place that is padding: weights 3/4 and 1/4."""
    model = small()
    with torch.no_grad():
        model.score.weight.copy_(torch.eye(6))
        model.combine.weight.copy_(torch.eye(12)[:6])  # the context alone
    hidden = torch.zeros(1, 1, 6).double()
    hidden[..., 0] = 1.0
    memory = torch.zeros(1, 3, 6).double()
    memory[0, 0, 0], memory[0, 0, 1], memory[0, 1, 2] = torch.tensor([3.0]).log(), 1.0, 1.0
    memory[0, 2] = 9.0
    found = model.attend(hidden, memory, torch.tensor([[True, True, False]])).atanh()[0, 0]
    assert found[1:].tolist() == pytest.approx([0.75, 0.25, 0.0, 0.0, 0.0])


def test_dropout_acts_in_training_only_and_at_the_rate_of_the_call(model: Seq2Seq) -> None:
    def loss(rate: float, seed: int) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = model(SOURCE, TARGET, rate).detach()
        return found

    assert torch.equal(loss(0.0, 1), loss(0.0, 2))
    assert not torch.equal(loss(0.5, 1), loss(0.5, 2))
    assert torch.equal(loss(0.5, 1), loss(0.5, 1))
    assert not torch.equal(loss(0.5, 1), loss(0.2, 1))
    assert torch.equal(loss(0.0, 3), loss(0.0, 1))  # no rate stays from one call to the next
    model.eval()
    assert torch.equal(loss(0.5, 1), loss(0.0, 2))


def test_dropout_is_on_both_embeddings_and_on_the_attentional_vectors(
    model: Seq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = []

    def dropout(inputs: Tensor, rate: float, training: bool) -> Tensor:
        dropped.append((tuple(inputs.shape), rate, training))
        return inputs

    monkeypatch.setattr(nn.functional, "dropout", dropout)
    model(SOURCE, TARGET, 0.3)
    assert dropped == [((3, 5, 6), 0.3, True), ((3, 6, 6), 0.3, True), ((3, 6, 6), 0.3, True)]


@pytest.mark.parametrize("lstm", ["encoder", "decoder"])
def test_dropout_is_between_the_layers_too(
    model: Seq2Seq, lstm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.functional, "dropout", lambda inputs, rate, training: inputs)
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(model(SOURCE, TARGET, 0.5))
    assert not torch.equal(losses[0], losses[1])
    model(SOURCE, TARGET, 0.5)
    assert getattr(model, lstm).dropout == 0.5


def test_every_weight_begins_within_a_tenth_and_forget_gates_begin_open() -> None:
    torch.manual_seed(0)
    model = Seq2Seq(300, 400, 50, 2).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "bias" not in name:
            assert 0.095 < float(parameter.abs().max()) <= 0.1
            assert abs(float(parameter.mean())) < 0.01
    for lstm in (model.encoder, model.decoder):
        assert isinstance(lstm, nn.LSTM)
        for layer in ("l0", "l1"):
            bias = getattr(lstm, f"bias_ih_{layer}") + getattr(lstm, f"bias_hh_{layer}")
            assert bias.tolist() == [0.0] * 50 + [1.0] * 50 + [0.0] * 100


def test_the_output_layer_in_pieces_gives_the_same_losses(
    model: Seq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model(SOURCE, TARGET)
    monkeypatch.setattr(seq2seq, "CHUNK_WORDS", 3)
    torch.testing.assert_close(model(SOURCE, TARGET), whole)
