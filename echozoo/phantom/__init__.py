"""Generated patients in the layout of a data set: a beating heart, in simulated ultrasound.

`anatomy` draws a ventricle and its beat, `chambers` its outlines in a view, `scene` what scatters
the sound there, `ultrasound` forms the picture, `artefacts` spoils it, `film` puts them together,
`patients` says who is filmed, `writing` leaves the files as `camus`, `echonet` or `hmc_qu` have
them.
Nothing in it comes from a patient.
"""

from echozoo.phantom.film import PhantomFilm, render_film
from echozoo.phantom.patients import PhantomOptions
from echozoo.phantom.writing import write_phantom
