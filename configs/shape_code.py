"""The autoencoder of shapes behind ShapeCodeSmoother (Painchaud et al., IEEE TMI 2022).

It learns the label maps of cavity and wall, no pictures; a test says how well they come back. Its
weights smooth films of any model: postprocessing=[dict(type="ShapeCodeSmoother", weights=FILE)].
Data: CAMUS, every frame on its own.
Command: tools/train.py configs/shape_code.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(type="ShapeCodes")

train_pipeline = [dict(type="LoadResizedClip"), dict(type="PackClip")]
test_pipeline = [dict(type="LoadClip"), dict(type="ResizeClip"), dict(type="PackClip")]
# 16 clips of 8 frames: the published batch of 128.
maps = dict(structures=("lv", "myo"), clip_length=8)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline, **maps))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **maps))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, **maps))
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=200)

_tiny_data = dict(dataset=dict(image_size=(64, 64)))
scales = dict(
    tiny=dict(
        model=dict(widths=(16, 32, 64), side=64),
        train_dataloader=dict(batch_size=2, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        train_cfg=dict(max_epochs=30, val_interval=10),
    )
)
