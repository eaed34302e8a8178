"""Adam at a constant 1e-4, as tra.txt states; it states no number of epochs."""

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=1e-4, fused=True),
    constructor="TrainableParamsConstructor",
)
param_scheduler = []

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
