"""SAMUS with MSFF and TRA: multi-scale and temporal features in the CNN (autosamus.txt, 4.3, 4.4).

Data: CAMUS, clips of 8 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus_msff_tra.py --data-root PATH
"""

_base_ = "samus_msff.py"

model = dict(backbone=dict(temporal=dict(type="TRA")))

clips = dict(dataset=dict(clip_length=8))
train_dataloader = clips
val_dataloader = clips
test_dataloader = clips

scales = dict(tiny=dict(train_dataloader=dict(batch_size=2)))
