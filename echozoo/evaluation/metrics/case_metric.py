"""What metrics that keep one result a clip have in common."""

from __future__ import annotations

import sys

from mmengine.evaluator import BaseMetric


class CaseMetric(BaseMetric):
    """A metric whose `process` leaves exactly one result a clip, each known by its name.

    Args:
        report: Whether to make the table with its intervals, and files.
        out_dir: Folder for the files; None writes none.
        config_name: Name of the config, for the files.
        seed: Seed of the bootstrap.
        n_resamples: Resamples of the bootstrap.
        prefix: Prefix of the metrics' names; None is the class's own.
    """

    def __init__(
        self,
        report: bool = True,
        out_dir: str | None = None,
        config_name: str | None = None,
        seed: int = 0,
        n_resamples: int = 2000,
        prefix: str | None = None,
    ) -> None:
        # "gpu" is mmengine's name for all_gather_object, which works over gloo as well; its "cpu"
        # goes through files in the working directory.
        super().__init__(collect_device="gpu", prefix=prefix)
        self.report = report
        self.out_dir = out_dir
        self.config_name = config_name
        self.seed = seed
        self.n_resamples = n_resamples

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the results of all processes and summarise them.

        Args:
            size: Length of the dataset. Not used: mmengine would cut the gathered list to it, which
                loses cases where a sampler pads otherwise than mmengine's own; here a case
                that came twice is known by its name.

        Returns:
            The metrics, on every process.
        """
        return super().evaluate(sys.maxsize)
