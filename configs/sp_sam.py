"""SP-SAM's way: texts of parts prompt SAM; LV and myocardium make up what the epicardium encloses.

As described in arXiv 2312.14481, which came without code.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/sp_sam.py --data-root PATH
With CLIP's features of the texts, in place of a table that learns:
--cfg-options model.prompt_head.clip=FILE
"""

_base_ = "sam_finetune.py"

_wholes = ((0, 1),)  # LV and myocardium
_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(
    prompt_head=dict(
        _delete_=True,
        type="PartPromptHead",
        num_structures=3,
        wholes=_wholes,
        names=(
            "cavity of left ventricle",
            "myocardium of left ventricle",
            "left atrium",
            "left ventricle",
        ),
    ),
    decoder=dict(type="PartWholeMaskDecoder", wholes=_wholes),
    loss=dict(type="PartWholeLoss", wholes=_wholes),
    frozen=("backbone.*", "prompt_head.encoder.*", *_unused),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(hidden_dims=64),
            frozen=("prompt_head.encoder.*", *_unused),
        )
    )
)
