"""The last epochs of efficient_unet.py: from its best weights, with lighter augmentation.

Data: CAMUS, see _base_/datasets/camus_screens.py. It starts from work_dirs/efficient_unet.
Command: tools/train.py configs/efficient_unet_fine.py --data-root PATH
"""

_base_ = "efficient_unet.py"

model = dict(pretrained="work_dirs/efficient_unet")
train_dataloader = dict(dataset=dict(pipeline=_base_.light_pipeline))
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", T_max=6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)

# --scale tiny: from the tiny one, as long as here.
_tiny = dict(model=dict(pretrained="work_dirs/efficient_unet_tiny"))
scales = dict(
    tiny=dict(
        **_tiny, param_scheduler=param_scheduler, train_cfg=dict(max_epochs=6, val_interval=1)
    )
)
