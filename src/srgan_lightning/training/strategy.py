"""Distributed data parallel for two networks that are trained alternately."""

from typing import Any

from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


class PerNetworkDDP(DDPStrategy):
    """A DDP strategy with one gradient reducer per network.

    A backward pass sends the gradients of one network only.

    Lightning's DDP has one reducer for the whole module. With two optimisers it sends the gradients of both networks in
    each backward pass, with zeros for the network that does not learn. It also sends them for every accumulated batch.

    Before a backward pass, the module sets `synced` to the name of the network whose gradients the pass completes, or
    to None to keep gradients local. Every parameter of that network must be used; otherwise set
    `trainer.strategy=ddp_find_unused_parameters_true`. Buffers are not broadcast: see `process_mean`.
    """

    def configure_ddp(self) -> None:
        # Reducers hook into parameters. So the module is not wrapped, and forward passes do not use the wrappers.
        assert self.model is not None
        self.reducers: dict[str, DistributedDataParallel] = {
            name: self._setup_model(network)
            for name, network in self.model.named_children()
            if any(parameter.requires_grad for parameter in network.parameters())
        }

    def pre_backward(self, closure_loss: Tensor) -> None:
        module: Any = self.lightning_module
        if module.synced in self.reducers:
            prepare_for_backward(self.reducers[module.synced], closure_loss)

    def teardown(self) -> None:
        self.reducers = {}
        super().teardown()
