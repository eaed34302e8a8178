"""Import mmseg's parts so that its registries are full, without its start-up noise.

mmseg prints "Could not import OneDL" twice and mmcv warns about an operator that the pure Python
wheel does not have. Neither concerns a user of echozoo.
"""

import contextlib
import io
import warnings

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmseg.datasets
    import mmseg.engine
    import mmseg.evaluation
    import mmseg.models
    import mmseg.visualization  # noqa: F401
