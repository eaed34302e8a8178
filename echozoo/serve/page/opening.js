// Opening a film, from the list, a file or a drop; coming back to it after the page was loaded anew.

import * as server from "./server.js";
import { Outlines, Pictures } from "./caches.js";
import { sendAll } from "./edits.js";
import { anyMasks, measure } from "./measures.js";
import { $, showFacts } from "./panel.js";
import { Prompts } from "./prompts.js";
import { guarded, say } from "./saying.js";
import { show } from "./stage.js";
import { on, state, tell } from "./state.js";
import { segment } from "./whole_film.js";

const REMEMBERED = "film"; // of this tab: {kept, name, listed, frame}

/** Read a film; the one before stays open until that has gone well. */
async function open(what, name, listed = false) {
  const before = state.film;
  if (state.busy && !confirm("The film is still being segmented. Stop that, and open another?")) return;
  $("welcome").hidden = true;
  $("loading").hidden = false;
  say("");
  let facts;
  try {
    await sendAll();
    facts = await what(before);
  } finally {
    $("loading").hidden = true; // before the first frame is there to be clicked on
    $("welcome").hidden = Boolean(state.film);
    $("films").value = listedNumber();
  }
  const reopen = listed ? () => what(null) : () => server.openKept(facts.kept);
  if (before) leave();
  await enter(new server.OpenFilm(facts, reopen), name, listed);
}

async function enter(film, name, listed) {
  const clicks = await film.clicks();
  state.film = film;
  state.fileName = name;
  state.listed = listed;
  state.pictures = new Pictures(film);
  state.outlines = new Outlines(film);
  state.prompts = new Prompts(clicks);
  $("film-name").textContent = name.split("/").pop();
  $("film-name").title = name;
  $("welcome").hidden = true;
  $("films").value = listedNumber();
  showFacts(film);
  remember(0);
  tell("opened");
  await show(0);
  await measure();
  if (state.model.automatic && !anyMasks() && !clicks.length) guarded(segment)();
}

function leave() {
  state.film = null;
  $("film-name").textContent = $("facts").textContent = "";
  $("notes").replaceChildren();
  tell("closed");
  tell("changed");
}

const listedNumber = () => (state.listed ? String(state.model.films.indexOf(state.fileName)) : "");

// ---- the film of this tab

function remember(frame) {
  const { film, fileName: name, listed } = state;
  sessionStorage.setItem(REMEMBERED, JSON.stringify({ kept: film.kept, name, listed, frame }));
}

async function comeBack() {
  const told = JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "null");
  if (!told) return;
  try {
    if (told.listed) await openNumber(state.model.films.indexOf(told.name));
    else await open((before) => server.openKept(told.kept, before), told.name);
  } catch (error) {
    if (error.status) sessionStorage.removeItem(REMEMBERED); // it is gone: asked for once
    throw error;
  }
  await show(told.frame);
}

// ---- from the list, from a file

async function openNumber(number) {
  const name = state.model.films[number];
  if (name) await open((before) => server.openListed(number, before), name, true);
}

async function openFile(file) {
  if (!file) return;
  const most = state.model.max_upload_bytes;
  if (file.size > most) {
    throw new Error(`${file.name} is larger than ${Math.round(most / 2 ** 20)} MB, the limit here`);
  }
  await open((before) => server.upload(file, before), file.name);
}

on("ready", () => {
  const { films, max_upload_bytes: bytes } = state.model;
  const most = Math.round(bytes / 2 ** 20);
  $("limit").textContent = `up to ${most} MB${films.length ? ", or choose one from the list" : ""}`;
  guarded(comeBack)();
});

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", guarded(async () => {
  const [file] = $("file").files;
  $("file").value = "";
  await openFile(file);
}));
$("films").addEventListener("change", guarded(() => openNumber(Number($("films").value))));

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

window.addEventListener("pagehide", () => {
  if (!state.film) return;
  remember(state.frame);
  state.film.leave();
});
