"""From films to masks: what other programs use."""

from echozoo.lazy import lazily

__all__ = ["ClickSession", "EchoFilm", "EchoInferencer", "LoadedModel", "load_model", "open_film"]
__getattr__ = lazily(
    __name__,
    ClickSession="echozoo.apis.session",
    EchoFilm="echozoo.films.film",
    EchoInferencer="echozoo.apis.inferencer",
    LoadedModel="echozoo.apis.model",
    load_model="echozoo.apis.loading",
    open_film="echozoo.films.film",
)
