"""Generated patients in the CAMUS layout: a beating heart, seen through simulated ultrasound.

`anatomy` draws a heart and its motion, `scene` says what scatters the sound where, `ultrasound`
forms the picture, `artefacts` spoils it, `film` puts them together, `writing` leaves the files.
Nothing in it comes from a patient.
"""

from echozoo.datasets.phantom.film import Film, render_film
from echozoo.datasets.phantom.writing import PhantomOptions, write_phantom
