"""AdamW from a warm-up down a cosine; what is validated and saved is an average of the weights."""

_base_ = ["adam.py", "../runtime.py"]

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1.5e-3, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=100),
    dict(type="CosineAnnealingLR", convert_to_iter_based=True),
]
# The average is over the last tenth of the steps or 200.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.005, gamma=10),
    dict(type="ViewHeadHook"),
]
