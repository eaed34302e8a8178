"""AdaptiveSAM: the names of structures prompt SAM; of its encoder biases and norms train.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/adaptive_sam.py --data-root PATH
CLIP's features of the names, from its own weights: --cfg-options model.prompt_head.clip=FILE
Those of another text encoder: --cfg-options model.prompt_head.features=FILE.npy

The published encoder has neither windows nor relative positions, and its loader finds no weight of
SAM's at 256 pixels; here both are SAM's. To have the published one: --cfg-options
model.backbone.window_size=0 model.backbone.use_rel_pos=False
"model.backbone.global_attn_indexes=range(12)" model.pretrained=None
"""

_base_ = [
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
    "_base_/tiny_sam.py",
]

_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(type="SAMViT", arch="base", img_size=256),
    prompt_head=dict(
        type="TextPromptHead",
        num_structures=3,
        names=("left ventricle cavity", "myocardium", "left atrium"),
    ),
    decoder=dict(type="UnplacedMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # Without what a single mask from text does not use.
    frozen=("backbone.*", "prompt_head.encoder.*", *_unused),
    trainable=("backbone.*bias", "backbone.*norm?.*", "backbone.pos_embed"),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, weight_decay=0.01, fused=True)
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            decoder=dict(num_heads=4, mlp_dims=256, iou_head_hidden=64),
            frozen=("prompt_head.encoder.*", *_unused),
            trainable=(),
            pretrained=None,
        )
    )
)
