"""SAMUS with local information attention, LIA, after every stage of its CNN (tra.txt, table 3).

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus_lia.py --data-root PATH
"""

_base_ = "samus.py"

model = dict(backbone=dict(conv_plugins=[dict(type="LIA", stages=(0, 1, 2, 3))]))
