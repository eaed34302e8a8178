"""AutoSAMUS on SAMUS with multi-scale feature fusion (autosamus.txt, 3.3 and 4.3).

Data: CAMUS, single images, no prompts. It starts from a trained configs/samus_msff.py.
Command: tools/train.py configs/autosamus_msff.py --data-root PATH
"""

_base_ = "autosamus.py"

model = dict(
    backbone=dict(conv_plugins=[dict(type="MSFF", stages=(2,))]),
    pretrained=dict(path="work_dirs/samus_msff"),
)

scales = dict(tiny=dict(model=dict(pretrained=dict(path="work_dirs/samus_msff_tiny"))))
