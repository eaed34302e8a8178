"""AutoSAMUS on SAMUS with TRA: films in, masks out, no prompts (autosamus.txt, 3.3 and 4.4).

Data: CAMUS, clips of 8 frames, no prompts. It starts from a trained configs/samus_tra.py.
Command: tools/train.py configs/autosamus_tra.py --data-root PATH
"""

_base_ = "autosamus.py"

model = dict(
    backbone=dict(temporal=dict(type="TRA")),
    pretrained=dict(path="work_dirs/samus_tra"),
)

clips = dict(dataset=dict(clip_length=8))
train_dataloader = clips
val_dataloader = clips
test_dataloader = clips

scales = dict(
    tiny=dict(
        model=dict(pretrained=dict(path="work_dirs/samus_tra_tiny")),
        train_dataloader=dict(batch_size=2),
    )
)
