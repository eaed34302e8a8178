"""SAMUS with TRA on the ViT's tokens in every block, and a loss of masks that flicker.

Not the document's: there TRA stands in the CNN branch, see samus_tra.py, which this builds on.
Data: CAMUS, clips of 8 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/dist_train.sh configs/samus_tra_smooth.py 8 --data-root PATH
"""

_base_ = "samus_tra.py"

model = dict(
    backbone=dict(temporal_position="before_attention", temporal_blocks="all"),
    film_losses=[dict(type="TemporalSmoothness", weight=0.1)],
)
