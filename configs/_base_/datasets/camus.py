"""CAMUS: clips of 8 frames from the half sequences, three structures, patients split 7:1:2.

Where a data set has no sequences, clips are the pairs of end diastole and end systole. One clip a
step and process. The path comes from --data-root or the environment's CAMUS_ROOT.
"""

# What train, val and test share; tools set these for all three by --data-root and --dataset.
shared = dict(
    type="CAMUSDataset",
    data_root=None,
    split="ratio",  # 7:1:2 by patient, as tra.txt has it
    frames="sequence",
    clip_length=8,
    image_size=(256, 256),
)

train_pipeline = [
    dict(type="LoadResizedClip"),
    # The augmentations of the published SAMUS, each with probability 0.5.
    dict(type="RandomGamma", gamma=(1.0, 2.4), prob=0.5),
    dict(type="RandomRotate", degrees=30, prob=0.5),
    dict(type="RandomScaleCrop", scale=(1.0, 1.3), prob=0.5),
    dict(type="RandomContrast", contrast=(0.8, 2.0), prob=0.5),
    dict(type="PointPrompts", rule="random"),
    dict(type="PackClip"),
]
test_pipeline = [
    dict(type="LoadClip"),
    dict(type="ResizeClip"),
    dict(type="PointPrompts", rule="raster_middle"),
    dict(type="PackClip"),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(subset="train", pipeline=train_pipeline, **shared),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(subset="val", pipeline=test_pipeline, test_mode=True, **shared),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(subset="test", pipeline=test_pipeline, test_mode=True, **shared),
)

val_evaluator = dict(type="SegmentationMetric", surface=False, report=False)
test_evaluator = [
    dict(type="SegmentationMetric"),
    dict(type="TemporalConsistencyMetric", limits="camus"),
    dict(type="EjectionFractionMetric"),
]
