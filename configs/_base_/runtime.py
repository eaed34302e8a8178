"""What every run has: hooks, logs, seeds."""

default_scope = "echozoo"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    checkpoint=dict(
        type="CheckpointHook",
        interval=1,
        max_keep_ckpts=2,  # the last is written before the one before it goes
        save_best="camus/dice_with_empty_as_0",
        rule="greater",
    ),
)
custom_hooks = [
    dict(type="ParameterTableHook"),
    dict(type="EpochSeedHook"),
    dict(type="PlainCheckpointHook"),
    dict(type="OverlayHook"),
    dict(type="CurvesHook"),
    dict(type="FiniteHook"),
]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
log_processor = dict(
    type="LogProcessor",
    window_size=10,
    by_epoch=True,
    # The loss of a whole validation as it is: mmengine takes means of what is called a loss.
    custom_cfg=[dict(data_src="val/loss", method_name="current")],
)
visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
log_level = "INFO"
load_from = None
resume = False
