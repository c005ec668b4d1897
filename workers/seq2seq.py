"""Sequence to sequence with attention: Luong, Pham and Manning 2015 (arXiv 1508.04025).

The model follows TensorFlow's tutorial "Neural Machine Translation (seq2seq)": global attention, score
`general`, and the encoder's last state as the decoder's first. It has no input feeding, so in training the
decoder's LSTM is a single call for all words of a batch instead of one per word.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workers.data.translation import BEGIN, PADDING, lengths
from workers.decoding import State

INITIAL_RANGE = 0.1
CHUNK_WORDS = 128
"""Number of target words whose scores over the vocabulary are computed at once on a CPU, to fit its cache."""


class Seq2Seq(nn.Module):
    """An encoder and decoder with attention; the rate of dropout is an argument of each call.

    Dropout applies to the input of each LSTM layer and, beyond the tutorial, to the attentional vectors.
    """

    def __init__(self, source_words: int, target_words: int, units: int, layers: int) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(source_words, units)
        self.target_embedding = nn.Embedding(target_words, units)
        self.encoder = nn.LSTM(units, units, layers, batch_first=True)
        self.decoder = nn.LSTM(units, units, layers, batch_first=True)
        self.score = nn.Linear(units, units, bias=False)
        self.combine = nn.Linear(2 * units, units, bias=False)
        self.output = nn.Linear(units, target_words, bias=False)
        for name, parameter in self.named_parameters():
            if "bias" not in name:
                nn.init.uniform_(parameter, -INITIAL_RANGE, INITIAL_RANGE)
            else:
                nn.init.zeros_(parameter)
                if "bias_ih" in name:
                    nn.init.ones_(parameter.data[units : 2 * units])  # the forget gates begin open

    def forward(self, source: Tensor, target: Tensor, dropout: float = 0.0) -> Tensor:
        """Return the negative log-likelihoods of all target words except padding, float32 (words,), by row.

        source: int64 (n, S); target: int64 (n, T), ending with `END`; dropout: the rate, in training only.
        """
        memory, mask, state = self.encode(source, dropout)
        before = torch.cat([torch.full_like(target[:, :1], BEGIN), target[:, :-1]], 1)
        embedded = self._dropped(self.target_embedding(before.clamp(min=0)), dropout)
        hidden, _ = _with_dropout(self.decoder, dropout)(embedded, state)
        vectors = self._dropped(self.attend(hidden, memory, mask), dropout)
        real = target != PADDING  # the output layer is most of the work, so skip padding
        words, vectors = target[real], vectors[real]
        size = CHUNK_WORDS if words.device.type == "cpu" else len(words)
        losses = []
        for start in range(0, len(words), size):
            piece = slice(start, start + size)
            scores = self.output(vectors[piece]).float()
            losses.append(F.cross_entropy(scores, words[piece], reduction="none"))
        return torch.cat(losses)

    def encode(self, source: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return the encoder's outputs (n, S, units), the mask of real words (n, S), and its last state."""
        embedded = self._dropped(self.source_embedding(source.clamp(min=0)), dropout)
        packed = pack_padded_sequence(embedded, lengths(source).cpu(), batch_first=True, enforce_sorted=False)
        hidden, state = _with_dropout(self.encoder, dropout)(packed)
        memory, _ = pad_packed_sequence(hidden, batch_first=True, total_length=source.shape[1])
        return memory, source != PADDING, state

    def attend(self, hidden: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return attentional vectors tanh(W_c [c; h]), (n, T, units), for decoder outputs (n, T, units)."""
        scores = self.score(hidden) @ memory.transpose(1, 2)
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return torch.tanh(self.combine(torch.cat([weights.to(memory.dtype) @ memory, hidden], -1)))

    def begin(self, source: Tensor) -> State:
        """Return the initial state for `step`: tensors with the sentences along their first dimension."""
        memory, mask, (hidden, cell) = self.encode(source)
        return memory, mask, hidden.transpose(0, 1), cell.transpose(0, 1)

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return log-probabilities float32 (n, target words) of the next words, and the new state.

        words: int64 (n,), the words before.
        """
        memory, mask, hidden, cell = state
        before = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
        outputs, (hidden, cell) = self.decoder(self.target_embedding(words)[:, None], before)
        logits = self.output(self.attend(outputs, memory, mask)[:, 0])
        return logits.float().log_softmax(-1), (memory, mask, hidden.transpose(0, 1), cell.transpose(0, 1))

    def _dropped(self, inputs: Tensor, dropout: float) -> Tensor:
        return F.dropout(inputs, dropout, self.training)


def _with_dropout(lstm: nn.LSTM, dropout: float) -> nn.LSTM:
    """Return the same LSTM with the rate of dropout between its layers set."""
    lstm.dropout = dropout if lstm.num_layers > 1 else 0.0
    return lstm
