"""SAMUS as autosamus.txt trains it: Dice and MSE, Adam at 5e-4, one image a step, 200 epochs.

The checkpoint of least validation loss is the one to test. The document names no split: patients
are split as for tra.txt, so that a SAMUS to start from has not seen those of the test.
"""

_base_ = ["models/samus.py", "datasets/camus.py", "schedules/adam.py", "runtime.py"]

model = dict(loss=dict(_delete_=True, type="DiceMSELoss"), measure_loss=True)

images = dict(dataset=dict(clip_length=1))
train_dataloader = images
val_dataloader = images
test_dataloader = images
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=200)
val_evaluator = [
    dict(type="SegmentationMetric", surface=False, report=False),
    dict(type="LossMetric"),
]
default_hooks = dict(checkpoint=dict(save_best="val/loss", rule="less"))

scales = dict(tiny=dict(train_dataloader=dict(batch_size=8)))
