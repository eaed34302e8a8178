"""SAMUS: SAM's ViT-B at 256 x 256 with adapters and a CNN branch (tra.txt, tables 1 and 3).

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus.py --data-root PATH
"""

_base_ = [
    "_base_/models/samus.py",
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
]
