"""SAMUS with temporal attention before the cross-branch attention (tra.txt, table 2, Mini-CAMUS).

Data: CAMUS, clips of 8 frames, 200 patients. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus_temp_att.py --data-root PATH
"""

_base_ = "samus.py"

model = dict(backbone=dict(temporal=dict(type="TempAtt")))

mini = dict(dataset=dict(split="mini"))
train_dataloader = mini
val_dataloader = mini
test_dataloader = mini
