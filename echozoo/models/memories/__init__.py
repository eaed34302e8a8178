"""Memories: what a `StreamSegmentor` hands from frame to frame.

A memory is a module in `MEMORIES` with

- ``start(batch, structures, like) -> state``: before a film;
- ``keys(features)``: of all frames of a clip at once, sliced by frame;
- ``read(state, keys) -> readout, state``: for one frame of each film;
- ``prompt(features, readout, state) -> dense, state``: the decoder's dense prompt (B, K, C, h, w);
- ``write(state, t, features, keys, masks, permanent, given) -> state``: frame t with its masks,
  logits (B, K, H, W) on the grid of the images;
- ``observe(state, t, maps) -> state``, for decoders that return more than logits and quality.

A state is a frozen dataclass on `echozoo.models.memories.state.Movable`: moved, cut and saved.
"""
