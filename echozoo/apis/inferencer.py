"""`EchoInferencer`: films in, masks, numbers and pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.dist import get_dist_info
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echozoo.apis import predicting, writers
from echozoo.apis.anonymous import Pseudonyms
from echozoo.apis.averaging import AveragedModel
from echozoo.apis.film_folder import write_results
from echozoo.apis.in_memory import plain_sources
from echozoo.apis.label_store import LabelStore
from echozoo.apis.loading import load_model
from echozoo.apis.measuring import Measures, measure_film, measure_frame
from echozoo.apis.model import LoadedModel
from echozoo.apis.outcomes import Inference, SegmentedFilm, Task, gather, sort_outcomes
from echozoo.apis.overview import write_overview
from echozoo.apis.prompt_files import (
    Entries,
    FilmPrompts,
    choose_prompts,
    prompts_inside,
    prompts_of_film,
)
from echozoo.apis.recipes import finished, recipe_of
from echozoo.apis.sources import SUMMARY_FILE, find_films, unique_names
from echozoo.apis.summaries import summarise
from echozoo.apis.views import View, find_view
from echozoo.apis.workers import segment_in_workers
from echozoo.errors import ConfigError, NoFilmError, StorageError
from echozoo.films.apart import warm_up
from echozoo.films.contents import open_b_mode
from echozoo.films.dicom_objects import need_highdicom
from echozoo.films.film import EchoFilm
from echozoo.films.sector import NOT_FOUND, outside_sector
from echozoo.models.weight_files import file_sha256
from echozoo.postprocessing import Postprocessing
from echozoo.studies.names import VIEWS

# Of the constructor's arguments, what a recipe names by its content.
_BY_CONTENT = ("config", "checkpoint", "coarse", "prompts")


class EchoInferencer:
    """Segments films with a trained model.

    Memory does not grow with a film's length: frames are read, labelled and written
    ``batch_size`` at a time; label maps wait in a nameless temporary file. A model with temporal
    modules sees clips of the length that it was trained on, whatever ``batch_size`` is.

    Args:
        config: A config, a run's work folder, published weights, or the name of a model of the
            zoo, as for `load_model`; None takes the zoo's own choice. Several, in a list, are
            averaged.
        checkpoint: Weights; None takes those of the work folder, or the ones that the config
            names.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        batch_size: Frames of a pass.
        int8: Quantise the linear layers of the image encoder (CPU).
        amp: Mixed precision: "bf16" or "fp16".
        compile: Compile the image encoder: slow to start.
        fast_cpu: On a CPU, compute layers in its own way.
        postprocess: Steps, as in a config's ``postprocessing``; None leaves the config's own.
        prompts: For models that need prompts, here or at each call: a dict or a JSON file with
            clicks and boxes on one frame (of each film), or a list of these, carried through the
            film; a label map as previous mask; or "automatic" with ``coarse``. "auto" where the
            model needs none.
        coarse: A work folder, or config and checkpoint, of a model without prompts, whose masks
            prompt this one.
        progress: Whether to show a progress bar.
        crop: Whether films are cut to their ultrasound sectors for the model (see
            `echozoo.films.sector`); masks are those of the whole image in any case.
        force: Whether to segment what is no B-mode film too.
        view: "2CH" or "4CH" for all films, in place of what they say and look like.
        flip: Whether the model also sees the frames mirrored, and its two answers are averaged.

    Raises:
        ConfigError: Options that do not go together.
        CheckpointError: No weights, or those of another model.
    """

    def __init__(
        self,
        config: str | Path | Sequence[str | Path] | None = None,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        batch_size: int = predicting.FRAMES_A_PASS,
        int8: bool = False,
        amp: str | bool | None = None,
        compile: bool = False,
        fast_cpu: bool = True,
        postprocess: Sequence[dict] | None = None,
        prompts: str | Path | Entries = "auto",
        coarse: str | Path | Sequence[str | Path] | None = None,
        progress: bool = True,
        crop: bool = True,
        force: bool = False,
        view: str | None = None,
        flip: bool = False,
    ) -> None:
        self._made_with = {
            key: value for key, value in locals().items() if key not in ("self", "progress")
        }
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: wanted 1 or more")
        if view not in (None, *VIEWS):
            raise ConfigError(f"view={view!r}: wanted {' or '.join(VIEWS)}")
        warm_up()  # while the model loads
        several = isinstance(config, (list, tuple))
        loaded = [
            load_model(one, checkpoint, device, int8, amp, compile, fast_cpu)
            for one in (config if several else [config])
        ]
        self.loaded = AveragedModel(loaded, flip) if flip or len(loaded) > 1 else loaded[0]
        if postprocess is not None:
            self.loaded.model.postprocessing = Postprocessing(postprocess)
        self.batch_size, self.progress = batch_size, progress
        self.crop, self.force, self.view = crop, force, view
        self.coarse = self._load_coarse(coarse, device, amp) if coarse is not None else None
        if not isinstance(prompts, str) or prompts != "auto":
            _ = self._prompts  # what is wrong with them is said at once

    def __call__(
        self,
        source: Any,
        out: str | Path | None = None,
        spacing: tuple[float, float] | None = None,
        frame_time_ms: float | None = None,
        mp4: bool = False,
        workers: int = 1,
        dicom_seg: bool = False,
        dicom_sr: bool = False,
        as_camus: bool = False,
        anonymous: bool = False,
        prompts: str | Path | Entries | None = None,
    ) -> Inference:
        """Segment a film, a folder of films, what is in memory, or a list of these.

        Folders are searched to all depths; files that are references (``_gt``) or no films are
        left out, and so is what turns out to be no B-mode film. A film that fails does not stop
        the others, whatever it fails of: it is read in a process apart. Results of a film appear
        when they are whole. Processes that a launcher has started (`torch.distributed`) share the
        films; the first writes what is over all of them, and each returns all that became of them.

        Args:
            source: What to segment: a file or a folder, an array or a tensor (H, W), (T, H, W) or
                colour of it, a PIL image, the bytes of a file (see `echozoo.apis.in_memory`).
            out: Folder for results, ``OUT/<film>/`` each, under the folders that they come from;
                None writes nothing.
            spacing: (dy, dx) mm of all films, in place of what their files say.
            frame_time_ms: Time from one frame to the next, likewise.
            mp4: Write the overlay as MP4 too.
            dicom_seg: Write the label maps of DICOM files as DICOM segmentations too.
            dicom_sr: Write the volumes and EF of exams of DICOM files as DICOM reports too.
            anonymous: Give films, exams and files names that say nothing; headers' names and paths
                are left out. What stands inside of a sector stays.
            as_camus: Write exams in CAMUS's layout too, in ``OUT/camus``.
            workers: Processes that share the films, for results in a folder; each loads the model.
            prompts: For these films, in place of the constructor's.

        Raises:
            ConfigError: The model needs prompts and none are given, or takes none.
            EchoZooError: The only film there is fails, or there is none.
            StorageError: ``out`` cannot be written.
        """
        if prompts is not None:
            given = (source, out, spacing, frame_time_ms, mp4, workers, dicom_seg, dicom_sr)
            return self._prompted_by(prompts)(*given, as_camus, anonymous)
        _ = self._prompts  # where they are missing, it is no film's fault
        out = None if out is None else Path(out).expanduser()
        jobs, left_out = find_films(plain_sources(source), out)
        if out is not None:
            writers.make_folder(out)
        if dicom_seg or dicom_sr:
            need_highdicom()
            if anonymous:
                raise ConfigError("anonymous and DICOM objects: these belong to their patient")
        rank, processes = get_dist_info()
        if workers < 1 or (max(workers, processes) > 1 and out is None):
            raise ConfigError(f"workers={workers}: wanted 1 or more, and a folder for several")
        tasks = [
            Task(one, place, out and out / place, spacing, frame_time_ms, mp4, dicom_seg)
            for (one, _), place in zip(jobs, unique_names(jobs), strict=True)
        ]
        if anonymous and out is not None:
            names = Pseudonyms.of_all_processes(out)
            tasks = [names.task(task) for task in tasks]
            left_out = replace(left_out, files=names.files(left_out.files))
        folder = isinstance(source, (str, Path)) and Path(source).is_dir()
        several = len(tasks) > 1 or processes > 1 or folder
        outcomes = gather(self._share(tasks[rank::processes], workers, several))
        done = sort_outcomes(tasks, outcomes, left_out)
        if out is not None and rank == 0:
            write_overview(done, out, dicom_sr, as_camus)
        return done

    def _share(
        self, tasks: list[Task], workers: int, several: bool
    ) -> dict[Path, SegmentedFilm | Exception]:
        """What becomes of this process's films, by place; one that is alone raises its error."""
        outcomes = {}
        with self._bar() as bar:
            whole = bar.add_task("films", total=len(tasks), visible=len(tasks) > 1)
            for task, outcome in self._outcomes(tasks, workers, bar):
                failed = isinstance(outcome, Exception) and not isinstance(outcome, NoFilmError)
                if failed and not several:
                    raise outcome
                outcomes[task.place] = outcome
                bar.advance(whole)
        return outcomes

    def _outcomes(
        self, tasks: list[Task], workers: int, bar: Progress
    ) -> Iterator[tuple[Task, SegmentedFilm | Exception]]:
        """Each film that is come to, with what became of it; one never ends the others."""
        if min(workers, len(tasks)) > 1:
            yield from segment_in_workers(type(self), self._made_with, tasks, workers)
            return
        for task in tasks:
            try:
                yield task, self.film(task, bar)
            except Exception as error:
                yield task, error
                if isinstance(error, StorageError) and error.full:
                    return

    def film(self, task: Task, bar: Progress | None = None) -> SegmentedFilm:
        """Segment one film and write its results, where they are not there already.

        Raises:
            NoFilmError: It is something else than a B-mode film.
            EchoZooError: It fails.
        """
        bar = bar or self._bar()
        recipe = None
        if task.folder is not None:
            recipe = recipe_of(task, self._recipe)
            if summary := finished(task.folder, recipe):
                return SegmentedFilm(summary, task.folder, kept=True)
        film = open_b_mode(task.source, task.spacing, task.frame_time_ms, self.crop, self.force)
        film, prompts = self._prompted(film)
        view = find_view(self.loaded, film, self.view)
        unseen = film.path is not None and NOT_FOUND in film.notes  # an array is somebody's choice
        if view.strange and unseen and not self.force:
            raise NoFilmError(f"no ultrasound sector in it, and {view.notes[-1]}")
        whole = film.whole or film
        if task.folder is None:
            store, measures = self._segment(film, prompts, view, bar)
            summary = summarise(film, measures, self._members, self._digests)
            return SegmentedFilm(summary, None, whole, measures, store, source=task.source)
        with writers.whole_folder(task.folder) as fresh:
            store, measures = self._segment(film, prompts, view, bar)
            summary = summarise(film, measures, self._members, self._digests)
            summary["recipe"] = recipe
            seg = Path(self.loaded.cfg.filename or "model").stem if task.dicom_seg else None
            hide = task.hide
            write_results(fresh, film, store, measures, task.mp4, seg, keep_grey=bool(hide))
            summary = hide(summary) if hide else summary
            writers.write_json(fresh / SUMMARY_FILE, summary)
        film.close()
        return SegmentedFilm(summary, task.folder, whole, measures)

    @cached_property
    def _prompts(self) -> tuple[Entries, Path] | None:
        """The prompts of all films and the folder that they are relative to, None without."""
        return choose_prompts(self._made_with["prompts"], self.loaded, self.coarse)

    def _prompted_by(self, prompts: str | Path | Entries) -> EchoInferencer:
        """The same with other prompts; it shares the model."""
        other = copy(self)
        for name in ("_prompts", "_recipe"):
            vars(other).pop(name, None)
        other._made_with = {**self._made_with, "prompts": prompts}
        return other

    def _prompted(self, film: EchoFilm) -> tuple[EchoFilm, list[FilmPrompts] | None]:
        """The film with its prompts: all of it where they lie outside of its sector."""
        if not self._prompts:
            return film, None
        whole = film.whole or film
        prompts = prompts_of_film(*self._prompts, self.loaded, whole)
        inside = prompts_inside(prompts, film)
        if inside is None:
            whole.notes.append("prompted outside of its sector: the whole image is used after all")
            return whole, prompts
        return film, inside

    def _segment(
        self, film: EchoFilm, prompts: Sequence[FilmPrompts] | None, view: View, bar: Progress
    ) -> tuple[LabelStore, Measures]:
        store = LabelStore((film.num_frames, *(film.whole or film).size))
        rounds = self.loaded.model.postprocessing.rounds
        task = bar.add_task(film.name, total=film.num_frames * rounds)
        try:
            for frame, labels in predicting.label_film(
                self.loaded, film, prompts, self.coarse, self.batch_size
            ):
                store.put(frame, film.put_back(labels))
                bar.advance(task)
        finally:
            bar.remove_task(task)
        return store, self._measure(film, store, prompts, view)

    def _measure(
        self,
        film: EchoFilm,
        store: LabelStore,
        prompts: Sequence[FilmPrompts] | None,
        view: View,
    ) -> Measures:
        prompted = {name for one in prompts or () for name in one.structures}
        sought = prompted or self.loaded.structures
        structures = tuple(name for name in self.loaded.structures if name in sought)
        outside = outside_sector(film)
        frames = [
            measure_frame(labels, structures, film.spacing, outside=outside)
            for start, stop in writers.chunks(film.num_frames, self.batch_size)
            for labels in film.inside(store.read(start, stop))
        ]
        return measure_film(film, structures, frames, view)

    @property
    def _members(self) -> Sequence[LoadedModel]:
        return self.loaded.members if isinstance(self.loaded, AveragedModel) else (self.loaded,)

    @cached_property
    def _digests(self) -> list[str | None]:
        """SHA-256 of the weights' files."""
        files = [one.checkpoint for one in self._members]
        return [None if file is None else file_sha256(file) for file in files]

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        """What the results of all films depend on."""
        given = {key: value for key, value in self._made_with.items() if key not in _BY_CONTENT}
        coarse = self.coarse
        return {
            "options": given,
            "prompts": self._prompts,
            "config": [one.cfg.to_dict() for one in self._members],
            "weights": self._digests,
            "coarse": coarse and [coarse.cfg.to_dict(), file_sha256(coarse.checkpoint)],
        }

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
