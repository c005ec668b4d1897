"""torch's averaged model, set on `training` and evaluated, with its own scheduler."""

from torch.optim.swa_utils import SWALR, AveragedModel

from tests.workers.toys import Toy


class Swa(AveragedModel):
    def update(self, model):
        self.update_parameters(model)


class Net(Toy):
    def scheduler(self, training):
        return SWALR(training.optimizer, swa_lr=0.01, anneal_epochs=2)

    def setup(self, training):
        training.averaged = Swa(training.model, use_buffers=True)
