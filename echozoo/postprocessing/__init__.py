"""What is done to predictions after the network, by config, and flags for what cannot be right.

Steps work on numpy arrays; none is on unless a segmentor's ``postprocessing`` names it.
"""

from echozoo.postprocessing.base import FilmLabels, FilmStep, LogitStep, MaskStep, Postprocessing
from echozoo.postprocessing.plausibility import MEANINGS, film_flags, flags, frame_flags
