"""Tests of films in one piece: clip by clip through the model, then the steps on films."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from echozoo.datasets.shared_frames import own_frames
from echozoo.structures import EchoDataSample


class WholeFilms(nn.Module):
    """Mixed into a segmentor of mmengine's with ``postprocessing``."""

    def test_step(self, data: dict[str, Any]) -> list[EchoDataSample]:
        """Predict a batch of a test.

        A sample that names its ``clips`` is a film: each frame's prediction is of the clip that it
        is taken from in use, too (see `own_frames`). Steps on films see the frames of a sample.

        Args:
            data: ``inputs``, B clips (T, 1, H, W), and ``data_samples``.
        """
        if not self.postprocessing.film_steps:
            return super().test_step(data)
        films = zip(data["inputs"], data["data_samples"], strict=True)
        return [self._film(inputs, sample) for inputs, sample in films]

    def _film(self, inputs: Tensor, sample: EchoDataSample) -> EchoDataSample:
        places = {frame: place for place, frame in enumerate(sample.frames)}
        clips = sample.get("clips") or (sample.frames,)
        predicted: dict[str, dict[int, Tensor]] = {}
        for clip, own in zip(clips, own_frames(clips), strict=True):
            seen = [places[frame] for frame in clip]
            data = {"inputs": [inputs[seen]], "data_samples": [sample.part(seen)]}
            (part,) = super().test_step(data)
            for name in {"pred_masks", "pred_labels", "given", "loss"} & set(part.keys()):
                values = part.get(name)  # (t, ...), or a number of the clip
                each = {t: values[clip.index(t)] if values.ndim else values for t in own}
                predicted.setdefault(name, {}).update(each)
        found = {
            name: torch.stack([of[t] for t in sample.frames]) for name, of in predicted.items()
        }
        if "loss" in found:
            found["loss"] = found["loss"].mean()
        sample.set_data(found)
        return self._finished(sample)

    def _finished(self, sample: EchoDataSample) -> EchoDataSample:
        values = {name: k for k, name in enumerate(sample.structures, start=1)}
        given = sample.given.nonzero().flatten().tolist() if "given" in sample else ()
        maps = sample.pred_labels.cpu().numpy()
        labels = torch.from_numpy(self.postprocessing.finish(maps, values, sample.spacing, given))
        sample.pred_labels = labels.to(sample.pred_labels.device)
        numbers = torch.arange(1, len(values) + 1, device=sample.pred_labels.device)
        sample.pred_masks = sample.pred_labels[:, None] == numbers.view(1, -1, 1, 1)
        return sample
