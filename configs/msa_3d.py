"""Medical SAM Adapter for clips: each place of a frame sees itself in the others, too.

Data: CAMUS, clips of 8 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/msa_3d.py --data-root PATH

As published, frames are told apart from windows where an image is one window alone; here always.
"""

_base_ = "msa.py"

model = dict(backbone=dict(over_frames=True))
