default_scope = "echozoo"
custom_imports = dict(imports=["toy_parts"])

model = dict(type="ToyModel")
dataset = dict(type="ToyData", data_root=None)
loader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=True), dataset=dataset
)
test_loader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dataset,
)
train_dataloader = loader
val_dataloader = test_loader
test_dataloader = test_loader
val_evaluator = dict(type="ToyMetric")
test_evaluator = dict(type="ToyMetric")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9),
    constructor="TrainableParamsConstructor",
)
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1),
    checkpoint=dict(
        type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="toy/error", rule="less"
    ),
)
custom_hooks = [
    dict(type="EpochSeedHook"),
    dict(type="ParameterTableHook"),
    dict(type="PlainCheckpointHook"),
    dict(type="FiniteHook"),
]
randomness = dict(seed=3)
visualizer = dict(type="Visualizer", vis_backends=[])
