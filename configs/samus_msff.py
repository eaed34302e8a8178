"""SAMUS with multi-scale feature fusion in its CNN, after the third stage (autosamus.txt, table 1).

Data: CAMUS, single images. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus_msff.py --data-root PATH
Without MSFF, the other row of the table: --cfg-options model.backbone.conv_plugins=[]
"""

_base_ = "_base_/autosamus.py"

# At 64 x 64 all three dilations see the image: at 32 x 32 the widest would see padding mostly.
model = dict(backbone=dict(conv_plugins=[dict(type="MSFF", stages=(2,))]))
