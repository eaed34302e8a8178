"""SAMUS: SAM's ViT-B at 256 x 256 with adapters and a CNN branch; SAM's own parts stay frozen.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samus.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(type="SAMUS", arch="base", img_size=256),
    prompt_head=dict(type="ManualPromptHead", img_size=256, embedding_size=32, prompts=("points",)),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # What is SAM's own stays as it is; what SAMUS adds trains.
    frozen=(
        "backbone.patch_embed.*",
        "backbone.pos_embed",
        "backbone.blocks.*.norm[12].*",
        "backbone.blocks.*.attn.*",
        "backbone.blocks.*.mlp.*",
        "backbone.neck.*",
        "prompt_head.*",
        "decoder.*",
    ),
    # The relative positions of the global blocks train too: their grid is not SAM's.
    trainable=(
        "backbone.blocks.2.attn.rel_pos_?",
        "backbone.blocks.5.attn.rel_pos_?",
        "backbone.blocks.8.attn.rel_pos_?",
        "backbone.blocks.11.attn.rel_pos_?",
    ),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)
