"""What a run loads has to fit its model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from echozoo.models.checkpoints import fit_weights
from echozoo.models.weight_files import state_dict_of
from echozoo.registry import HOOKS


@HOOKS.register_module()
class FittingWeightsHook(Hook):
    """Take published weights where a run loads a checkpoint, and refuse what does not fit.

    mmengine only warns of keys that do not match, and a test then measures random weights. With
    this hook ``load_from``, and so ``tools/test.py``, follows the rules of `load_published`:
    published files of SAM and SAMUS load under their own key names, and keys that are missing,
    unexpected or misshapen end the run. Parts that the file has no weights for are logged.
    """

    priority = "VERY_HIGH"  # EMAHook copies the weights in this stage

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the weights into the model's terms, in place.

        Args:
            runner: Has the model.
            checkpoint: What was loaded, with the weights or being the weights.

        Raises:
            CheckpointError: The weights do not fit.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        name = str(runner._load_from or "the checkpoint")
        weights = fit_weights(model, state_dict_of(checkpoint, name), name)
        left = sorted(set(model.state_dict()) - set(weights))
        if left:
            runner.logger.warning(
                f"{name}: has no weights for {len(left)} tensors, which stay as initialised: "
                f"{', '.join(left[:4])}{' ...' if len(left) > 4 else ''}"
            )
        checkpoint["state_dict"] = weights
