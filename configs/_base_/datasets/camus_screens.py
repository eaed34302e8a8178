"""CAMUS's stills, both views, made up as scanners show them: any sector, text, ECG, bars around it.

The longer side becomes 256 pixels and zeros fill the rest: films of any screen keep their aspect.
"""

_base_ = ["camus.py"]

train_pipeline = [
    dict(type="LoadResizedClip", keep_aspect=True),
    dict(type="RandomSector", prob=0.3),
    dict(type="RandomGamma", gamma=(0.6, 1.8), prob=0.5),
    dict(type="RandomDepthGain", prob=0.3),
    dict(type="RandomShadow", prob=0.2),
    dict(type="RandomSpeckle", prob=0.3),
    dict(type="RandomBlur", prob=0.3),
    dict(type="RandomAffine", rotate=20, scale=(0.85, 1.3), translate=0.12, prob=0.8),
    dict(type="RandomScreen", prob=0.35),
    dict(type="RandomContrast", contrast=(0.7, 1.6), prob=0.5),
    dict(type="PackClip"),
]
# Of the last epochs.
light_pipeline = [
    dict(type="LoadResizedClip", keep_aspect=True),
    dict(type="RandomSector", prob=0.1),
    dict(type="RandomGamma", gamma=(0.7, 1.5), prob=0.4),
    dict(type="RandomDepthGain", prob=0.15),
    dict(type="RandomSpeckle", prob=0.15),
    dict(type="RandomBlur", prob=0.15),
    dict(type="RandomAffine", rotate=12, scale=(0.9, 1.2), translate=0.06, prob=0.6),
    dict(type="RandomScreen", prob=0.15),
    dict(type="RandomContrast", contrast=(0.8, 1.3), prob=0.3),
    dict(type="PackClip"),
]
test_pipeline = [
    dict(type="LoadClip"),
    dict(type="ResizeClip", keep_aspect=True),
    dict(type="PackClip"),
]
_stills = dict(split="files", frames="ed_es", clip_length=1)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline, **_stills))
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline, **_stills))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, **_stills))
