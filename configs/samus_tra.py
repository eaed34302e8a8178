"""SAMUS with temporal relation aggregation before the cross-branch attention (tra.txt, table 3).

Data: CAMUS, clips of 8 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/dist_train.sh configs/samus_tra.py 8 --data-root PATH
"""

_base_ = "samus.py"

model = dict(backbone=dict(temporal=dict(type="TRA")))
