"""A trained model of the zoo as a fixed part of another model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echozoo import weights
from echozoo.errors import ConfigError
from echozoo.models.weight_files import load_safely, read_config
from echozoo.registry import MODELS


@MODELS.register_module()
class ZooNetwork(nn.Module):
    """A model that comes with the zoo and gives each pixel one class, asked for its opinion.

    It does not learn, and a checkpoint of the model around it does not hold its weights again:
    they are the zoo's, here as there.

    Args:
        name: Of the model, as in `echozoo.weights.names`.
        brightest: Value of a white pixel in the images that it is given; a black one is 0.

    Raises:
        ConfigError: The zoo has no such model, or it needs prompts.
    """

    def __init__(self, name: str, brightest: float = 1.0) -> None:
        super().__init__()
        file = weights.find(name)
        if file is None:
            raise ConfigError(
                f"ZooNetwork: found name={name!r}, wants one of {', '.join(weights.names())}"
            )
        self.network = MODELS.build(
            {**read_config(file)["model"], "_scope_": "echozoo", "pretrained": None}
        )
        if not hasattr(self.network, "decode_head"):
            raise ConfigError(f"ZooNetwork: found {name!r}, wants a model without prompts")
        self.network.load_state_dict(load_safely(file))
        self.network.requires_grad_(False).eval()
        self.brightest = brightest
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_put_in)

    @property
    def num_structures(self) -> int:
        """K."""
        return self.network.decode_head.num_classes - 1

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Segment images, each by itself.

        Args:
            images: (N, C, H, W), the first channel from 0 to ``brightest``.

        Returns:
            Log odds (N, K, h, w) float32 of each structure against all else, of the size of the
            network's own logits.
        """
        grey = images[:, :1].float() * (255 / self.brightest)  # N, 1, H, W
        clips = self.network.data_preprocessor({"inputs": list(grey[:, None])})["inputs"]
        logits = self.network(clips).float()  # N, K + 1, h, w
        one_hot = torch.eye(logits.shape[1], device=logits.device, dtype=torch.bool)[1:]  # K, K + 1
        others = logits[:, None].masked_fill(one_hot[..., None, None], -torch.inf)
        return logits[:, 1:] - others.logsumexp(2)

    def train(self, mode: bool = True) -> ZooNetwork:
        """Stay in evaluation mode whatever is asked."""
        return super().train(False)


def _leave_out(module: ZooNetwork, state: dict, prefix: str, metadata: dict) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        del state[key]


def _put_in(module: ZooNetwork, state: dict, prefix: str, *_) -> None:
    own = module.network.state_dict(prefix=f"{prefix}network.")
    state.update(own)
