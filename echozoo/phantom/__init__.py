"""Generated patients in the CAMUS layout: a beating heart, seen through simulated ultrasound.

`anatomy` draws a ventricle and its beat, `chambers` its outlines in a view, `scene` what scatters
the sound there, `ultrasound` forms the picture, `artefacts` spoils it, `film` puts them together,
`writing` leaves the files.
Nothing in it comes from a patient.
"""

from echozoo.phantom.film import PhantomFilm, render_film
from echozoo.phantom.writing import PhantomOptions, write_phantom
