"""The last epoch of lite_medsam_auto.py: prompts and decoder alone, with lighter augmentation.

Data: CAMUS, see _base_/datasets/camus_screens.py. It starts from work_dirs/lite_medsam_auto.
Command: tools/train.py configs/lite_medsam_auto_fine.py --data-root PATH
"""

_base_ = "lite_medsam_auto.py"

model = dict(
    frozen=(
        "backbone.*",
        "prompt_head.coarse.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    pretrained="work_dirs/lite_medsam_auto",
)
train_pipeline = [*_base_.light_pipeline[:-1], *_base_.train_pipeline[-2:]]  # with boxes
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", T_max=1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1)
custom_hooks = _base_.custom_hooks[:-1]  # the view head stays as it is, as its encoder does

# --scale tiny: from the tiny one.
scales = dict(
    tiny=dict(
        model=dict(pretrained="work_dirs/lite_medsam_auto_tiny"),
        param_scheduler=param_scheduler,
        train_cfg=dict(max_epochs=1, val_interval=1),
    )
)
