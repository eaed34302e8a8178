"""From films to masks: what other programs use."""

from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.loading import load_model
from echozoo.apis.model import LoadedModel
from echozoo.apis.session import ClickSession
from echozoo.films.film import EchoFilm, open_film
