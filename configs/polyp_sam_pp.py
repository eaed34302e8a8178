"""Polyp-SAM++'s way: a detector's boxes prompt SAM ViT-B as published, nothing trains.

Its own detector makes boxes of a text; none that knows the heart can be loaded here, so boxes come
from any: a file that BoxPrompter reads, or a function that it calls.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/test.py configs/polyp_sam_pp.py checkpoints/sam_vit_b_01ec64.pth --data-root PATH \
    --cfg-options test_dataloader.dataset.pipeline.2.source=boxes.json
"""

_base_ = "sam.py"

model = dict(
    prompt_head=dict(_delete_=True, type="DetectedBoxPromptHead"),
    decoder=dict(type="UnitingMaskDecoder"),
)

_pipeline = [
    dict(type="LoadClip"),
    dict(type="ResizeClip"),
    dict(type="BoxPrompter", source=None),
    dict(type="PackClip"),
]
train_dataloader = dict(dataset=dict(pipeline=_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_pipeline))
test_dataloader = dict(dataset=dict(pipeline=_pipeline))
