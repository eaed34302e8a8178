"""Label maps that any other program has made, measured as a model: nothing is trained.

Data: CAMUS, see _base_/datasets/camus.py. Masks: StoredMasks says how its files are named.
Command: tools/test.py configs/stored.py --data-root PATH --cfg-options model.folder=MASKS
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(type="StoredMasks", folder=None)

# The masks are on the grid of the image files: neither resizing nor prompts.
_pipeline = [dict(type="LoadClip"), dict(type="PackClip")]
train_dataloader = dict(dataset=dict(pipeline=_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_pipeline))

# Files have the size that they have: beside models of any scale they are the same row.
scales = {"tiny": dict(), "256": dict()}
