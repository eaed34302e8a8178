"""AutoSAM with dense prompts: HarDNet-85 writes SAM's dense prompt, SAM itself stays frozen.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/autosam_dense.py --data-root PATH

The published code stretches the logits of each mask to probabilities from 0 to 1, so that no mask
is ever empty. To have that: --cfg-options model.decoder.type=MinMaxMaskDecoder
"""

_base_ = "sam_finetune.py"

model = dict(
    prompt_head=dict(_delete_=True, type="DenseNetPromptHead", num_structures=3, net_size=256),
    frozen=("backbone.*", "prompt_head.encoder.*", "decoder.*"),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(
                _delete_=True,
                type="DenseNetPromptHead",
                num_structures=3,
                net=dict(type="HarDNet", num_maps=4, width=0.15),
            ),
            # What no prompt but a dense one uses.
            frozen=(
                "decoder.iou_prediction_head.*",
                "decoder.output_hypernetworks_mlps.[123].*",
                "prompt_head.encoder.*",
            ),
        )
    )
)
