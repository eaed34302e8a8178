"""`EchoInferencer`: films in, masks, numbers and pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echozoo.apis import predicting, writers
from echozoo.apis.label_store import LabelStore
from echozoo.apis.loading import load_model
from echozoo.apis.measuring import Measures, measure_film, measure_frame
from echozoo.apis.model import LoadedModel
from echozoo.apis.prompt_files import FORM, FilmPrompts, prompts_of_film, read_prompts
from echozoo.apis.sources import (
    LABEL_FILE,
    SUMMARY_FILE,
    LeftOut,
    Source,
    find_films,
    unique_names,
)
from echozoo.apis.studies import biplane
from echozoo.apis.summaries import summarise
from echozoo.apis.views import find_view
from echozoo.errors import ConfigError, EchoZooError, StorageError, one_line
from echozoo.films.apart import open_film_apart, warm_up
from echozoo.films.film import EchoFilm
from echozoo.films.io import LabelWriter
from echozoo.models.weight_files import file_sha256
from echozoo.postprocessing import Postprocessing


@dataclass
class SegmentedFilm:
    """What became of one film.

    Attributes:
        film: The film.
        measures: Areas, volumes, ED and ES, what is implausible.
        labels: ``labels.read(start, stop)`` gives label maps (n, H, W) uint8 with CAMUS's labels,
            all of them without arguments; None where they were written to files, the film being
            closed then too: a folder may hold thousands.
        summary: What ``summary.json`` holds.
        folder: Where its files are, None where none were wanted.
    """

    film: EchoFilm
    measures: Measures
    labels: LabelStore | None
    summary: dict
    folder: Path | None = None


@dataclass
class Inference:
    """What became of all films.

    Attributes:
        results: Of each film that worked.
        failures: Name and reason, one line each, of those that did not.
        studies: Summaries of patients with both views, by their files.
        left_out: What of the folders was not looked at.
        untried: Films that were not come to, since the disk is full.
    """

    results: list[SegmentedFilm] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    studies: dict[Path, dict] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    untried: int = 0


class EchoInferencer:
    """Segments films with a trained model.

    Memory does not grow with a film's length: frames are read, labelled and written
    ``batch_size`` at a time; label maps wait in a nameless temporary file. A model with temporal
    modules sees clips of the length that it was trained on, whatever ``batch_size`` is.

    Args:
        config: A config, a run's work folder, published weights, or the name of a model of the
            zoo, as for `load_model`; None takes the zoo's own choice.
        checkpoint: Weights; None takes those of the work folder, or the ones that the config
            names.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        batch_size: Frames of a pass.
        int8: Quantise the linear layers of the image encoder (CPU).
        amp: Mixed precision: "bf16" or "fp16".
        compile: Compile the image encoder: slow to start.
        fast_cpu: On a CPU, compute layers in its own way.
        postprocess: Steps, as in a config's ``postprocessing``; None leaves the config's own.
        prompts: For models that need prompts: a dict or a JSON file with clicks and boxes on one
            frame (of each film), carried through the film; a label map as previous mask; or
            "automatic" with ``coarse``. "auto" where the model needs none.
        coarse: A work folder, or config and checkpoint, of a model without prompts, whose masks
            prompt this one.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: Options that do not go together.
        CheckpointError: No weights, or those of another model.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        batch_size: int = predicting.FRAMES_A_PASS,
        int8: bool = False,
        amp: str | bool | None = None,
        compile: bool = False,
        fast_cpu: bool = True,
        postprocess: Sequence[dict] | None = None,
        prompts: str | Path | Mapping = "auto",
        coarse: str | Path | Sequence[str | Path] | None = None,
        progress: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: wanted 1 or more")
        warm_up()  # while the model loads
        self.loaded = load_model(config, checkpoint, device, int8, amp, compile, fast_cpu)
        if postprocess is not None:
            self.loaded.model.postprocessing = Postprocessing(postprocess)
        self.batch_size, self.progress = batch_size, progress
        self.coarse = self._load_coarse(coarse, device, amp) if coarse is not None else None
        self.prompts = self._check_prompts(prompts)
        self._digest: str | None = None

    def __call__(
        self,
        source: Source | Sequence[Source],
        out: str | Path | None = None,
        spacing: tuple[float, float] | None = None,
        frame_time_ms: float | None = None,
        mp4: bool = False,
    ) -> Inference:
        """Segment a film, a folder of films, an array, or a list of these.

        Folders are searched to all depths; files that are references (``_gt``) or no films are
        left out. A film that fails does not stop the others, whatever it fails of: it is read in
        a process apart. Results of a film appear when they are whole.

        Args:
            source: What to segment.
            out: Folder for results, ``OUT/<film>/`` each, under the folders that they come from;
                None writes nothing.
            spacing: (dy, dx) mm of all films, in place of what their files say.
            frame_time_ms: Time from one frame to the next, likewise.
            mp4: Write the overlay as MP4 too.

        Raises:
            EchoZooError: The only film there is fails, or there is none.
            StorageError: ``out`` cannot be written.
        """
        out = None if out is None else Path(out).expanduser()
        jobs, left_out = find_films(source, out)
        if out is not None:
            writers.make_folder(out)
        done = Inference(left_out=left_out)
        places = unique_names(jobs)
        several = len(jobs) > 1 or (isinstance(source, (str, Path)) and Path(source).is_dir())
        with self._bar() as bar:
            whole = bar.add_task("films", total=len(jobs), visible=len(jobs) > 1)
            for number, ((one, _), place) in enumerate(zip(jobs, places, strict=True), 1):
                folder = None if out is None else out / place
                try:
                    film = open_film_apart(one, spacing, frame_time_ms)
                    done.results.append(self._film(film, folder, mp4, bar))
                except Exception as error:  # one film never ends the others
                    if not several:
                        raise
                    done.failures.append((str(place), _reason(error)))
                    if isinstance(error, StorageError) and error.full:
                        done.untried = len(jobs) - number
                        break
                bar.advance(whole)
        films = [(r.folder.parent, r.film.name, r.measures) for r in done.results if r.folder]
        for path, study in biplane(films).items():
            try:
                writers.write_json(path, study)
                done.studies[path] = study
            except StorageError as error:
                done.failures.append((str(path.relative_to(out)), _reason(error)))
        return done

    def _film(self, film: EchoFilm, folder: Path | None, mp4: bool, bar: Progress) -> SegmentedFilm:
        if folder is None:
            store, measures = self._segment(film, bar)
            summary = summarise(film, measures, self.loaded, self._checkpoint_digest())
            return SegmentedFilm(film, measures, store, summary)
        with writers.whole_folder(folder) as fresh:
            store, measures = self._segment(film, bar)
            summary = summarise(film, measures, self.loaded, self._checkpoint_digest())
            self._write(fresh, film, store, measures, mp4)
            writers.write_json(fresh / SUMMARY_FILE, summary)
        film.close()
        return SegmentedFilm(film, measures, None, summary, folder)

    def _segment(self, film: EchoFilm, bar: Progress) -> tuple[LabelStore, Measures]:
        store = LabelStore((film.num_frames, *film.size))
        prompts = prompts_of_film(*self.prompts, self.loaded, film) if self.prompts else None
        rounds = self.loaded.model.postprocessing.rounds
        task = bar.add_task(film.name, total=film.num_frames * rounds)
        try:
            for frame, labels in predicting.label_film(
                self.loaded, film, prompts, self.coarse, self.batch_size
            ):
                store.put(frame, labels)
                bar.advance(task)
        finally:
            bar.remove_task(task)
        return store, self._measure(film, store, prompts)

    def _measure(self, film: EchoFilm, store: LabelStore, prompts: FilmPrompts | None) -> Measures:
        sought = prompts.structures if prompts else self.loaded.structures
        structures = tuple(name for name in self.loaded.structures if name in sought)
        frames = [
            measure_frame(labels, structures, film.spacing)
            for start, stop in writers.chunks(film.num_frames, self.batch_size)
            for labels in store.read(start, stop)
        ]
        return measure_film(film, structures, frames, find_view(self.loaded, film))

    def _write(
        self,
        folder: Path,
        film: EchoFilm,
        store: LabelStore,
        measures: Measures,
        mp4: bool,
    ) -> None:
        pictures = writers.OverlayWriter(folder, film, measures, mp4)
        with LabelWriter(folder / LABEL_FILE, store.shape, film.geometry) as labels:
            for start, stop in writers.chunks(film.num_frames, self.batch_size):
                maps = store.read(start, stop)
                labels.append(maps)
                pictures.append(film.frames(start, stop), maps)
        pictures.close()
        writers.write_label_description(folder / "labels.txt", measures.structures)
        (folder / "frames.csv").write_text(measures.table(), encoding="utf-8")
        if film.num_frames > 1:
            writers.write_curves(folder / "curves.png", measures)

    def _checkpoint_digest(self) -> str | None:
        if self._digest is None and self.loaded.checkpoint:
            self._digest = file_sha256(self.loaded.checkpoint)
        return self._digest

    def _check_prompts(self, prompts: str | Path | Mapping) -> tuple[Mapping, Path] | None:
        """The prompts that were given; None where the model or another one makes them."""
        given = isinstance(prompts, Mapping) or str(prompts) not in ("auto", "automatic")
        name = type(self.loaded.model).__name__
        if self.coarse and self.loaded.automatic:
            raise ConfigError(f"{name} needs no prompts: leave the coarse model out")
        if given and not self.loaded.understands:
            raise ConfigError(f"{name} takes no prompts: leave them out")
        if given and self.coarse:
            raise ConfigError("prompts and a coarse model: give one of the two")
        if given:
            return read_prompts(prompts)
        if self.coarse is None and not self.loaded.automatic:
            raise ConfigError(
                f"{Path(self.loaded.cfg.filename or name).name} needs prompts"
                f" ({' or '.join(self.loaded.understands)}): give clicks or boxes ({FORM}), a label"
                " map, or a coarse model to make them"
            )
        return None

    def _load_coarse(
        self, coarse: str | Path | Sequence, device: str | None, amp: str | bool | None
    ) -> LoadedModel:
        parts = [coarse] if isinstance(coarse, (str, Path)) else list(coarse)
        loaded = load_model(*parts, device=device, amp=amp)
        if not loaded.automatic:
            raise ConfigError(f"coarse model {parts[0]}: it needs prompts itself; give a U-Net")
        if not set(loaded.structures) & set(self.loaded.structures):
            raise ConfigError(f"coarse model {parts[0]}: it knows none of the structures wanted")
        return loaded

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not self.progress,
        )


def _reason(error: Exception) -> str:
    if isinstance(error, EchoZooError):
        return one_line(error)
    return one_line(f"{type(error).__name__}: {' '.join(str(error).split())}")
