"""Translation from Vietnamese to English by the seq2seq of Luong et al. 2015 (workers/seq2seq.py)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, cast

import sacrebleu
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.data import translation
from workers.decoding import beam, greedy
from workers.hyperparameters import Hyperparameters
from workers.seq2seq import Seq2Seq
from workers.workload import Batch, Splits, Training, Workload

MAX_GRADIENT_NORM = 5.0
POOL_BATCHES = 20
"""Number of batches whose sentences are pooled and sorted by length."""
EXHIBITED = 10


class NMT(Workload):
    """Translation from Vietnamese to English.

    Evolvable: learning_rate, and optionally dropout.

    corpus, train_examples, validation_examples, test_examples, max_length, min_count: see
    `workers.data.translation.load`. units: of each layer, of the embeddings and of the attention.
    beam_width, length_penalty: for the translations in the report; see `workers.decoding.beam`.
    precision: of the matrix products; None is bfloat16 on a GPU and float32 on a CPU.
    """

    def __init__(
        self,
        corpus: Literal["iwslt15", "evbnews"] = "iwslt15",
        train_examples: int | None = None,
        validation_examples: int = 200,
        test_examples: int | None = None,
        max_length: int = 50,
        min_count: int = 2,
        layers: int = 2,
        units: int = 512,
        batch_size: int = 128,
        optimizer: Literal["sgd", "adam"] = "sgd",
        beam_width: int = 10,
        length_penalty: float = 1.0,
        precision: Literal["float32", "bfloat16"] | None = None,
    ) -> None:
        for name, value in (("layers", layers), ("units", units), ("beam_width", beam_width)):
            if value < 1:
                raise UsageError(f"workload.options.{name}: should be 1 or more, not {value}")
        self.corpus_name = corpus
        self.sizes = {
            "train_examples": train_examples,
            "validation_examples": validation_examples,
            "test_examples": test_examples,
            "max_length": max_length,
            "min_count": min_count,
        }
        self.layers, self.units = layers, units
        self.batch_size = batch_size
        self.optimizer_name = optimizer
        self.beam_width, self.length_penalty = beam_width, length_penalty
        self.precision = precision

    def data(self, root: str | None) -> Splits:
        self.corpus = translation.load(root, self.corpus_name, **self.sizes)  # type: ignore[arg-type]
        return self.corpus.splits

    def model(self) -> Seq2Seq:
        return Seq2Seq(len(self.corpus.source_words), len(self.corpus.target_words), self.units, self.layers)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        if self.optimizer_name == "adam":
            return torch.optim.Adam(model.parameters(), lr=hp["learning_rate"])
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        """Return the mean negative log-likelihood of target words, including `</s>`."""
        return self._word_losses(model, batch, hp.get("dropout", 0.0)).mean()

    def step(self, training: Training, batch: Batch) -> Tensor:
        """Make one step, with the gradient's norm clipped to 5; return the batch's mean loss per word.

        As in the tutorial, the gradient is that of the mean loss per sentence, summed over its words; the
        usual learning rates (1 with SGD) are meant for that.
        """
        training.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(training.model, batch, training.hyperparameters)
        words_per_sentence = (batch[1] != translation.PADDING).sum() / len(batch[1])
        (loss * words_per_sentence).backward()
        nn.utils.clip_grad_norm_(training.model.parameters(), MAX_GRADIENT_NORM)
        training.optimizer.step()
        return loss.detach()

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """Return the metrics of one batch; `evaluate` returns those of a split."""
        loss = self._word_losses(model, batch).double().mean()
        return {"loss": loss, "perplexity": loss.exp()}

    @torch.no_grad()
    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        """Return the mean loss per word over a whole split, and the perplexity, its exponential.

        All words have equal weight, including `</s>` and unknown words. For the test split also return BLEU,
        of greedy translations.
        """
        if not getattr(self.splits, split):
            return {}
        with training.evaluating() as model:
            losses = [self._word_losses(model, batch) for batch in self.evaluation_batches(split)]
        loss = torch.cat(losses).double().mean()
        found = {f"{split}_loss": float(loss), f"{split}_perplexity": float(loss.exp())}
        if split == "test":
            references = [" ".join(target) for _, target in self.corpus.test]
            found["test_bleu"] = bleu(self.translate(training, range(len(references))), references)
        return found

    @torch.no_grad()
    def translate(self, training: Training, which: Sequence[int], width: int | None = None) -> list[str]:
        """Return translations of the test sentences `which`, by greedy search or a beam of `width`.

        They have at most twice as many words as their source.
        """
        model = cast(Seq2Seq, training.judged.eval())
        assert self.splits.test is not None
        chosen = tuple(tensor[torch.tensor(which)] for tensor in self.splits.test)
        order = translation.lengths(chosen[0]).argsort().cpu()
        sentences = []
        for source, _ in trimmed(chosen, cut(order, self.batch_size)):
            limits = 2 * translation.lengths(source)
            with self._autocast():
                state = model.begin(source)
                if width is None:
                    sentences += greedy(model.step, state, limits)
                else:
                    ranked = beam(model.step, state, limits, width, self.length_penalty)
                    sentences += [sentence for sentence, _ in ranked]
        texts = [" ".join(self.corpus.target_words[word] for word in sentence) for sentence in sentences]
        return [texts[place] for place in order.argsort().tolist()]

    def train_batches(self, training: Training) -> Iterator[Batch]:
        """Yield the training split in random order, in whole batches only (or one if it is smaller).

        Pools of `POOL_BATCHES` batches in that order are sorted by the length of the source, so that a batch
        has sentences of similar length; then the batches are shuffled.
        """
        count = len(self.splits.train[0])
        order = torch.randperm(count, generator=training.generator)
        whole = order[: max(count - count % self.batch_size, min(count, self.batch_size))]
        source_lengths = translation.lengths(self.splits.train[0]).cpu()
        pools = cut(whole, self.batch_size * POOL_BATCHES)
        by_length = torch.cat([pool[source_lengths[pool].argsort(stable=True)] for pool in pools])
        batches = cut(by_length, self.batch_size)
        shuffled = torch.randperm(len(batches), generator=training.generator).tolist()
        yield from trimmed(self.splits.train, [batches[number] for number in shuffled])

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """Yield a split from its shortest source to its longest, in batches as large as in training."""
        tensors = getattr(self.splits, split)
        if tensors:
            order = translation.lengths(tensors[0]).cpu().argsort(stable=True)
            yield from trimmed(tensors, cut(order, self.batch_size))

    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        """Return test sentences from all over the split, with their references and translations."""
        count = len(self.corpus.test)
        which = sorted({place * count // EXHIBITED for place in range(EXHIBITED)})
        searches = {"greedy": None, f"beam of {self.beam_width}": self.beam_width}
        found = [(name, self.translate(training, which, width)) for name, width in searches.items()]
        parts = []
        for place, number in enumerate(which):
            source, reference = (" ".join(words) for words in self.corpus.test[number])
            lines = [("Vietnamese", source), ("reference", reference)]
            lines += [(name, sentences[place]) for name, sentences in found]
            parts.append("".join(f"{name:>12}: {sentence}\n" for name, sentence in lines))
        return {"translations.txt": "\n".join(parts).encode()}

    def facts(self) -> list[str]:
        words = f"{len(self.corpus.source_words):,} and {len(self.corpus.target_words):,}"
        return [*super().facts(), f"vocabularies of {words} words"]

    def _word_losses(self, model: nn.Module, batch: Batch, dropout: float = 0.0) -> Tensor:
        with self._autocast():
            losses: Tensor = model(*batch, dropout)
        return losses

    def _autocast(self) -> torch.autocast:
        precision = self.precision or ("bfloat16" if self.device.type == "cuda" else "float32")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def cut(numbers: Tensor, size: int) -> list[Tensor]:
    """Return pieces of `size` numbers; the last may have fewer."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def trimmed(tensors: Batch, groups: Iterable[Tensor]) -> Iterator[Batch]:
    """Yield a batch of sentences per group of numbers, int64 on the CPU, as wide as its longest one."""
    sizes = [translation.lengths(tensor).cpu() for tensor in tensors]
    for group in groups:
        yield tuple(
            tensor[group.to(tensor.device), : int(size[group].max())]
            for tensor, size in zip(tensors, sizes, strict=True)
        )


def bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Return corpus BLEU, 0 to 100, with one reference each, by sacrebleu.

    Words are separated by spaces (`tokenize="none"`), as these texts are tokenised already; case matters. So
    it is only comparable with figures for the same tokenisation.
    """
    return float(sacrebleu.corpus_bleu(translations, [references], tokenize="none", force=True).score)
