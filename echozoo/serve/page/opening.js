// Opening a film, from the list, a file or a drop, and closing it.

import * as server from "./server.js";
import { Outlines, Pictures } from "./caches.js";
import { measure } from "./measures.js";
import { $, addFilms, showFacts } from "./panel.js";
import { fail, guarded, say } from "./saying.js";
import { show } from "./stage.js";
import { on, state, tell } from "./state.js";
import { segment } from "./whole_film.js";

async function open(what, name) {
  await close();
  $("welcome").hidden = true;
  $("loading").hidden = false;
  say("");
  try {
    state.film = new server.OpenFilm(await what());
  } catch (error) {
    $("welcome").hidden = false;
    $("films").value = "";
    throw error;
  } finally {
    $("loading").hidden = true;
  }
  state.fileName = name;
  state.pictures = new Pictures(state.film);
  state.outlines = new Outlines(state.film);
  $("film-name").textContent = name.split("/").pop();
  $("film-name").title = name;
  showFacts(state.film);
  tell("opened");
  await show(0);
  await measure();
  if (state.model.automatic) guarded(segment)();
}

async function close() {
  const old = state.film;
  state.film = null;
  $("welcome").hidden = false;
  $("film-name").textContent = $("facts").textContent = "";
  $("notes").replaceChildren();
  tell("closed");
  tell("changed");
  if (old) await old.close();
}

async function openFile(file) {
  if (!file) return;
  const most = state.model.max_upload_bytes;
  if (file.size > most) {
    throw new Error(`${file.name} is larger than ${Math.round(most / 2 ** 20)} MB, the limit here`);
  }
  $("films").value = "";
  await open(() => server.upload(file), file.name);
}

on("ready", () => {
  const { films, max_upload_bytes: bytes } = state.model;
  const most = Math.round(bytes / 2 ** 20);
  $("limit").textContent = `up to ${most} MB${films.length ? ", or choose one from the list" : ""}`;
  addFilms(films);
});

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", guarded(async () => {
  const [file] = $("file").files;
  $("file").value = "";
  await openFile(file);
}));
$("films").addEventListener("change", guarded(async () => {
  const number = Number($("films").value);
  await open(() => server.openListed(number), state.model.films[number]);
  $("films").value = number;
}));

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

// A film that no page asks for is closed by the server after a while.
setInterval(() => state.film?.touch().catch(fail), 60000);
window.addEventListener("pagehide", () => { state.film?.close(); });
window.addEventListener("pageshow", (event) => { if (event.persisted) close(); });
