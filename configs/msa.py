"""Medical SAM Adapter: bottlenecks in the blocks of SAM's encoder, and its decoder, trained.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/msa.py --data-root PATH

The published loader loses SAM's relative positions, which stay zero; to have that:
--cfg-options "model.pretrained.without=('backbone.blocks.*.attn.rel_pos_?',)"
SAM's own decoder: --cfg-options model.decoder.type=SAMMaskDecoder
"""

_base_ = "sam_finetune.py"

_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
_data = dict(dataset=dict(image_size=(256, 256)))
model = dict(
    backbone=dict(type="MSA", img_size=256),
    decoder=dict(type="MSAMaskDecoder"),
    loss=dict(dice_weight=0.0, ce_weight=1.0, pos_weight=2.0),
    frozen=("backbone.*", "prompt_head.*", *_unused),
    trainable=("*_adapter.*",),
    pretrained=dict(_delete_=True, path="checkpoints/sam_vit_b_01ec64.pth"),
)
train_dataloader = _data
val_dataloader = _data
test_dataloader = _data

scales = dict(tiny=dict(model=dict(backbone=dict(pos_embed_size=24), trainable=())))
