"""torch's own averaged model, set on `training` and updated after each epoch; nothing evaluates it."""

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.workers.toys import Toy


class Net(Toy):
    def setup(self, training):
        training.swa = AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def end_epoch(self, training, losses):
        super().end_epoch(training, losses)
        training.swa.update_parameters(training.model)
