// The page: one open film, the prompts given on it, and what the server made of them.

import * as server from "./server.js";
import { Outlines, Pictures } from "./caches.js";
import { Curve } from "./curve.js";
import { listenToKeys } from "./keys.js";
import { $, addFilms, addStructures, showFacts, showLegend, showNumbers } from "./panel.js";
import { Prompts } from "./prompts.js";
import { View } from "./view.js";

const HOW_TO = {
  points: "Left click: this belongs to the structure. Right click, or Shift and click: this does not.",
  boxes: "Draw a box around the structure. Shift and click: this does not belong to it.",
  none: "This model takes no clicks: it segments the film by itself.",
};

const view = new View($("canvas"));
const curve = new Curve($("curve"));
let model = null;      // what the server offers
let film = null;       // the open film
let pictures, outlines, prompts;
let frame = 0;
let structure = null;  // short name
const hidden = new Set();
let allHidden = false;
let measured = null;
let busy = false;      // a job is running
let playing = null;
let fileName = "";

// ---- saying things

let statusTimer;
function say(text, isError = false) {
  clearTimeout(statusTimer);
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
  if (text && !isError) statusTimer = setTimeout(() => say(""), 6000);
}

const fail = (error) => say(error.message, true);

/** Run what a control does; what goes wrong is said. */
const guarded = (action) => async (...given) => {
  try {
    await action(...given);
  } catch (error) {
    fail(error);
  }
};

// ---- opening and closing

async function open(what, name) {
  await close();
  $("welcome").hidden = true;
  $("loading").hidden = false;
  say("");
  try {
    film = new server.OpenFilm(await what());
  } catch (error) {
    $("welcome").hidden = false;
    $("films").value = "";
    throw error;
  } finally {
    $("loading").hidden = true;
  }
  fileName = name;
  pictures = new Pictures(film);
  outlines = new Outlines(film);
  prompts = new Prompts();
  view.setFilm(film.width, film.height, film.spacing);
  $("canvas").hidden = false;
  $("film-name").textContent = name.split("/").pop();
  $("film-name").title = name;
  $("slider").max = film.frames - 1;
  $("slider").disabled = $("play").disabled = film.frames < 2;
  showFacts(film);
  await show(0);
  await measure();
  if (model.automatic) guarded(segment)();
}

async function close() {
  stopPlaying();
  const old = film;
  film = null;
  busy = false;
  measured = null;
  view.scene = null;
  view.cross = null;
  $("canvas").hidden = true;
  $("welcome").hidden = false;
  $("film-name").textContent = $("counter").textContent = "";
  $("slider").disabled = $("play").disabled = true;
  $("facts").textContent = "";
  $("notes").replaceChildren();
  $("progress-box").hidden = $("stop").hidden = true;
  showMeasures();
  if (old) await old.close();
}

async function openFile(file) {
  if (!file) return;
  const most = model.max_upload_bytes;
  if (file.size > most) throw new Error(`${file.name} is larger than ${Math.round(most / 2 ** 20)} MB, the limit here`);
  $("films").value = "";
  await open(() => server.upload(file), file.name);
}

// ---- a frame on the screen

let wanted = 0; // only the latest wish is drawn
async function show(next) {
  if (!film) return;
  frame = Math.min(Math.max(next, 0), film.frames - 1);
  const mine = ++wanted;
  const its = film;
  $("slider").value = frame;
  const time = film.frame_time_ms ? `, ${(frame * film.frame_time_ms).toFixed(0)} ms` : "";
  $("counter").textContent = `${frame + 1} of ${film.frames}${time}`;
  $("slider").setAttribute("aria-valuetext", `frame ${frame + 1} of ${film.frames}`);
  curve.at(frame);
  const [bitmap, paths] = await Promise.all([pictures.get(frame), outlines.get(frame)]);
  if (mine !== wanted || its !== film) return;
  const shown = allHidden ? [] : model.structures.filter(({ name }) => paths.has(name) && !hidden.has(name));
  view.show({
    bitmap,
    masks: shown.map(({ name, colour }) => ({ path: paths.get(name), colour })),
    prompts: model.structures.map(({ name, colour }) => ({ ...prompts.get(frame, name), colour })),
  });
  const titles = model.structures.filter(({ name }) => paths.has(name)).map(({ title }) => title);
  $("canvas").setAttribute("aria-label", `Frame ${frame + 1} of ${film.frames}; masks: ${titles.join(", ") || "none"}`);
  $("canvas").dataset.shown = `${frame}:${titles.length}`;
  pictures.ahead(frame);
  showControls();
}

function showControls() {
  const open = Boolean(film);
  const any = open && measured !== null && measured.lines.length > 0;
  const here = any && measured.lines.some(({ values }) => values[frame] > 0);
  view.locked = busy || !model?.prompts.length;
  view.colour = model?.structures.find(({ name }) => name === structure)?.colour;
  $("canvas").classList.toggle("locked", view.locked);
  $("undo").disabled = !open || busy || !prompts.canUndo;
  $("clear").disabled = !open || busy || !prompts.has(frame, structure);
  $("carry").disabled = !open || busy || !here || film.frames < 2;
  $("segment").disabled = !open || busy;
  $("stop").hidden = !busy;
  $("reset").hidden = busy;
  for (const id of ["get-masks", "get-table", "reset"]) $(id).disabled = !any || busy;
  for (const { name } of model?.structures ?? []) {
    const value = any ? measured.areas[name]?.[frame] ?? null : null;
    $(`area-${name}`).textContent = value === null ? "" : `${area(value)} ${measured.unit}`;
  }
}

const area = (value) => value.toFixed(value < 100 ? 1 : 0);

// ---- prompts

const toSend = new Map();
let sending = null;

/** Ask for the mask of a structure in a frame; of several wishes for one, the last counts. */
function send(at, name) {
  toSend.set(`${at}:${name}`, [at, name]);
  sending ??= drain().finally(() => { sending = null; });
  return sending;
}

async function drain() {
  const its = film;
  while (toSend.size && its === film) {
    const [key, [at, name]] = toSend.entries().next().value;
    toSend.delete(key);
    $("canvas").setAttribute("aria-busy", "true");
    try {
      const given = prompts.get(at, name);
      const answer = prompts.has(at, name)
        ? await film.click({ frame: at, structure: name, ...given })
        : await film.unclick(at, name);
      if (its !== film) return;
      await outlines.put(at, answer.masks);
      await show(frame);
      await measure();
    } catch (error) {
      if (its !== film) return;
      if (error.status === 422) prompts.undo(); // what was refused is not kept
      fail(error);
      await show(frame);
    } finally {
      $("canvas").removeAttribute("aria-busy");
    }
  }
}

view.addEventListener("point", ({ detail: { x, y, background } }) => {
  const given = prompts.get(frame, structure);
  if (background && !given.box && !given.labels.includes(1)) {
    say("Click on the structure itself first; background alone says nothing.", true);
    return;
  }
  if (!background && !model.prompts.includes("points")) {
    say("This model was trained with boxes: draw one around the structure.", true);
    return;
  }
  say("");
  prompts.addPoint(frame, structure, [x, y], background ? 0 : 1);
  changed(frame, structure);
});

view.addEventListener("box", ({ detail: { box } }) => {
  say("");
  prompts.setBox(frame, structure, box);
  changed(frame, structure);
});

function changed(at, name) {
  show(frame).catch(fail); // the mark at once, the mask when it comes
  send(at, name);
}

function undo() {
  if (!film || busy) return;
  const undone = prompts.undo();
  if (!undone) return;
  if (undone.frame !== frame) show(undone.frame).catch(fail);
  changed(undone.frame, undone.structure);
}

function clear() {
  prompts.clear(frame, structure);
  changed(frame, structure);
}

// ---- the whole film

const carry = () => work(() => film.carry(frame));
const segment = () => work(() => film.segment());

async function work(start) {
  const its = film;
  stopPlaying();
  let job = await start();
  busy = true;
  say("");
  $("progress-box").hidden = false;
  try {
    while (its === film) {
      $("progress").max = job.total;
      $("progress").value = job.done;
      $("progress-text").textContent = `${job.done} of ${job.total} frames`;
      outlines.forget();
      await show(frame);
      await measure();
      if (job.state !== "running") break;
      await new Promise((resolve) => setTimeout(resolve, 350));
      job = await its.job();
    }
  } finally {
    if (its === film) {
      busy = false;
      $("progress-box").hidden = true;
      showControls();
    }
  }
  if (its !== film) return;
  if (job.state === "failed") throw new Error(job.error);
  const correct = model.prompts.length ? " Click in any frame to correct it." : "";
  say(job.state === "done" ? `Every frame is segmented.${correct}` : `Stopped after ${job.done} of ${job.total} frames.`);
}

async function reset() {
  await film.clear();
  prompts = new Prompts();
  outlines.forget();
  say("All masks and prompts are gone.");
  await show(frame);
  await measure();
}

// ---- measures

async function measure() {
  if (!film) return;
  const its = film;
  const got = await film.measures();
  if (its !== film) return;
  const lines = model.structures
    .map(({ name, title, colour }) => ({ name, title, colour, values: got.areas[name] ?? [] }))
    .filter(({ values }) => values.some((value) => value !== null));
  measured = { ...got, lines };
  showMeasures();
  showControls();
}

function showMeasures() {
  const any = measured !== null && measured.lines.length > 0;
  $("curve-box").hidden = !any;
  $("measures").hidden = !any || measured.numbers.length === 0;
  if (!any) return;
  $("unit").textContent = measured.unit;
  showLegend(measured.lines);
  curve.show({ frames: film.frames, unit: measured.unit, lines: measured.lines, marks: measured.marks });
  curve.at(frame);
  showNumbers(measured.numbers);
  $("method").textContent = measured.method;
}

// ---- playing

function stopPlaying() {
  clearTimeout(playing);
  playing = null;
  $("play").classList.remove("playing");
  $("play").setAttribute("aria-label", "Play");
}

function play() {
  if (!film || film.frames < 2) return;
  if (playing !== null) return stopPlaying();
  $("play").classList.add("playing");
  $("play").setAttribute("aria-label", "Stop");
  const step = Math.min(Math.max(film.frame_time_ms || 40, 20), 200);
  const tick = async () => {
    const due = performance.now() + step;
    try {
      await show((frame + 1) % film.frames);
    } catch (error) {
      stopPlaying();
      return fail(error);
    }
    if (playing !== null) playing = setTimeout(tick, Math.max(0, due - performance.now()));
  };
  playing = setTimeout(tick, 0);
}

// ---- controls

function choose(name) {
  structure = name;
  $(`structure-${name}`).checked = true;
  showControls();
}

function tool(kind) {
  view.tool = kind;
  const radio = document.querySelector(`[name=tool][value=${kind}]`);
  radio.checked = true;
  $("how-to").textContent = model.prompts.length ? HOW_TO[kind] : HOW_TO.none;
}

function setUp() {
  const most = Math.round(model.max_upload_bytes / 2 ** 20);
  $("limit").textContent = `up to ${most} MB` + (model.films.length ? ", or choose one from the list" : "");
  addStructures(model.structures, choose, (name, shown) => {
    if (shown) hidden.delete(name);
    else hidden.add(name);
    show(frame).catch(fail);
  });
  addFilms(model.films);
  choose(model.structures[0].name);
  for (const radio of document.querySelectorAll("[name=tool]")) {
    radio.disabled = !model.prompts.includes(radio.value);
    if (radio.disabled) radio.parentElement.title = "This model was not trained with it";
    radio.addEventListener("change", () => tool(radio.value));
  }
  const promptable = model.prompts.length > 0;
  tool(model.prompts.includes("points") || !promptable ? "points" : "boxes");
  $("segment").hidden = !model.automatic;
  $("carry").hidden = !promptable;
  $("carry").classList.toggle("primary", !model.automatic);
  $("prompts").querySelector(".row").hidden = !promptable;
}

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", guarded(async () => {
  const [file] = $("file").files;
  $("file").value = "";
  await openFile(file);
}));
$("films").addEventListener("change", guarded(async () => {
  const number = Number($("films").value);
  await open(() => server.openListed(number), model.films[number]);
  $("films").value = number;
}));
$("slider").addEventListener("input", () => { stopPlaying(); show(Number($("slider").value)).catch(fail); });
curve.addEventListener("frame", ({ detail }) => { stopPlaying(); show(detail.frame).catch(fail); });
$("play").addEventListener("click", play);
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
$("segment").addEventListener("click", guarded(segment));
$("carry").addEventListener("click", guarded(carry));
$("stop").addEventListener("click", guarded(() => film.stop()));
$("reset").addEventListener("click", guarded(reset));
const stem = () => fileName.split("/").pop().replace(/\.(nii\.gz|\w+)$/i, "") || "film";
$("get-masks").addEventListener("click", guarded(() => film.download("masks.nii.gz", `${stem()}_masks.nii.gz`)));
$("get-table").addEventListener("click", guarded(() => film.download("measures.csv", `${stem()}_measures.csv`)));

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("stage").classList.remove("dropping");
});
document.addEventListener("drop", guarded(async (event) => {
  event.preventDefault();
  $("stage").classList.remove("dropping");
  await openFile(event.dataTransfer.files[0]);
}));

listenToKeys(view, {
  film: () => film,
  frames: { to: (next) => { stopPlaying(); show(next).catch(fail); }, now: () => frame },
  structure: (index) => model.structures[index] && (() => choose(model.structures[index].name)),
  tool: (kind) => model.prompts.includes(kind) && tool(kind),
  hide: () => { allHidden = !allHidden; show(frame).catch(fail); },
  play,
  undo,
});

// A film that no page asks for is closed by the server after a while.
setInterval(() => film?.touch().catch(fail), 60000);
window.addEventListener("pagehide", () => { film?.close(); });
window.addEventListener("pageshow", (event) => { if (event.persisted) close(); });

guarded(async () => {
  model = await server.model();
  setUp();
})();
