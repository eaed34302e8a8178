"""SAMUS with TRA and LIA: the whole model of tra.txt ("Ours" of table 1, the last row of table 3).

Data: CAMUS, clips of 8 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/dist_train.sh configs/samus_tra_lia.py 8 --data-root PATH
"""

_base_ = "samus_lia.py"

model = dict(backbone=dict(temporal=dict(type="TRA")))
