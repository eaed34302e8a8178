"""The one structure that travels from the data pipeline through the model to the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.structures import BaseDataElement


class EchoDataSample(BaseDataElement):
    """One clip of T frames with K structures: its labels, its prompts, its predictions.

    Data fields (all tensors, present where they make sense):
        gt_labels (T, H, W) uint8: label map at the size of the network's input. 0 is background,
            k the k-th of ``structures``.
        native_labels (T, H0, W0) uint8: the label map as it is on disk, for testing.
        labelled (T, K) bool: which structures of which frames have a reference. The label maps say
            nothing about the others; a frame without any is filled with 255. Losses, metrics and
            prompts skip what is not labelled; a sample without this field is labelled throughout.
        points (T, K, P, 2) float32: (x, y) in pixels of the network's input.
        point_labels (T, K, P) int64: 1 foreground, 0 background, -1 padding.
        boxes (T, K, 4) float32: (x1, y1, x2, y2) in pixels of the network's input.
        mask_prompts (T, K, h, w) float32: coarse masks as logits.
        pred_masks (T, K, H0, W0) bool: one mask a structure, on the native grid.
        pred_labels (T, H0, W0) uint8: the same as one label map; where masks overlap, the
            structure with the highest score.
        given (T,) bool: the frames whose masks the segmentor was given. They are measured nowhere.
        loss () float32: the clip's own loss, where the segmentor measures it.

    Meta fields:
        patient (str), view ("2CH" or "4CH"), sequence (str): where the clip is from; ``sequence``
            names one film ("patient0001_4CH").
        frames (tuple of T int): indices into the film, from 0.
        frame_files (tuple of T): of each frame the image file, its mask file or None, and its
            index in both (an `echozoo.datasets.films.FrameFiles`).
        instants (tuple of T str): "ED", "ES" or "" for the frames between.
        structures (tuple of K str): "lv", "myo", "la".
        clips (tuple of tuples of int): where the sample is a whole film, the frames of the clips
            that it is looked at by.
        label_values (mapping): of the structures that the data set labels, their values in its
            mask files.
        spacing (dy, dx): mm a pixel of the native grid, or None where unknown.
        native_size (H0, W0), input_size (H, W).
        valid_size (h, w): the part of the input, from its top left corner, that holds image; the
            rest is padding. Equal to ``input_size`` where the image was stretched.
        quality (str or None): "Good", "Medium" or "Poor".
        info (`echozoo.datasets.info.Info` or None): what the data set says of the film.
    """

    def part(self, places: Sequence[int]) -> EchoDataSample:
        """The sample of some of its frames.

        Args:
            places: Which of the T; one may come twice.
        """
        some = self.new()
        some.set_data({name: self.get(name)[list(places)] for name in self.keys()})
        of_frames = [name for name in ("frames", "frame_files", "instants") if name in self]
        some.set_metainfo({name: tuple(self.get(name)[t] for t in places) for name in of_frames})
        return some
