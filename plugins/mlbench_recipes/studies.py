"""The training schedules of three published studies."""

from __future__ import annotations

from mlbench_recipes.preset import preset

__all__ = ["cifar", "docclassifier", "triplet"]

docclassifier = preset(
    "docclassifier",
    """
    The schedule of DocClassifier (https://github.com/DocsaidLab/DocClassifier): 100,000 steps of 512 images.

    There an epoch is 5,000 steps of images drawn with replacement, and training takes 20 of them; the batch
    sampler that does so comes along, with the study's augmentation and its float32 products of medium
    precision. Under batch_sampler: shuffle, 51,200,000 / N epochs of N images are as many steps. Warm-up and
    decay are shares of whatever is set. Betas are AdamW's usual 0.9 and 0.999. The study chose its checkpoint
    on the test data; here the calibration split chooses.
    """,
    epochs=20,
    batch_size=512,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=1e-3,
    schedule="linear",
    warmup=0.1,
    clip_norm=5.0,
)

triplet = preset(
    "triplet",
    """
    Fine-tuning with triplets until 20 evaluations bring nothing better, as a study of label images did.

    That study states the patience, and 4,000 mined triplets an epoch, at most 5 of an anchor; the batch
    sampler that finds them comes along. Its durations (110 s an epoch, just under 1 s a step) fit 32 triplets
    in a step, which are 96 images. Adam at a constant 1e-4 without decay or warm-up is the reading taken for
    the rest: the Keras example of triplet learning, whose layer names the study uses, has it so. It names no
    last epoch either; 100 is one that patience hardly lets a run see.
    """,
    epochs=100,
    batch_size=96,
    optimizer="adam",
    lr=1e-4,
    weight_decay=0.0,
    schedule="constant",
    warmup=0.0,
    clip_norm=0.0,
    patience=20,
)

cifar = preset(
    "cifar",
    """
    The usual schedule of residual networks on CIFAR: 160 epochs, a rate of 0.1 cut tenfold at 80 and at 120.

    The study that it is taken from states epochs, rates and weight decay. Momentum 0.9 without Nesterov and
    batches of 128 are the reading taken for the rest, as in the paper on residual networks
    (arXiv:1512.03385). Biases and norms are not decayed, as in every recipe here. The last weights are kept,
    as in the study.
    Images of 32 pixels, cropped after padding by 4 and flipped, come along.
    """,
    epochs=160,
    batch_size=128,
    optimizer="momentum",
    lr=0.1,
    weight_decay=1e-4,
    momentum=0.9,
    schedule="step",
    milestones=(0.5, 0.75),
    decay_rate=0.1,
    warmup=0.0,
    clip_norm=0.0,
    select="last",
)
