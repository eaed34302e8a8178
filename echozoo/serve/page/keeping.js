// Nothing is lost: what other tabs do, whether the server keeps it, files out and in, what is done.

import * as server from "./server.js";
import { isUnsent, sendAll, takeUp } from "./edits.js";
import { anyMasks } from "./measures.js";
import { $, addFilms, addNotes } from "./panel.js";
import { guarded, say } from "./saying.js";
import { on, state, tell } from "./state.js";
import { work } from "./whole_film.js";

const EVERY = 4000; // ms between two questions for news

let notKept = ""; // why the server cannot keep what is done
let asking = false;

async function askForNews() {
  const { film } = state;
  if (!film || asking) return;
  asking = true;
  try {
    const { others, changed, not_kept: reason } = await film.news();
    if (film !== state.film) return;
    $("elsewhere").hidden = !others;
    if (reason !== notKept) say(reason, true);
    notKept = reason;
    if (isUnsent()) await sendAll();
    else if (changed && !state.busy) {
      await takeUp();
      say("Another tab has changed the masks of this film.");
    }
  } finally {
    asking = false;
  }
}

async function showStates() {
  const { films } = state.model;
  if (films.length) addFilms(films, await server.states());
}

setInterval(guarded(askForNews), EVERY);
// A tab that comes to the front asks at once; one that goes has said goodbye and asks no more.
document.addEventListener("visibilitychange", guarded(async () => {
  if (document.visibilityState === "visible") await askForNews();
}));

window.addEventListener("beforeunload", (event) => {
  if (state.film && (isUnsent() || notKept)) event.preventDefault();
});

on("ready", () => addFilms(state.model.films, state.model.films.map(() => "untouched")));
on("ready", guarded(showStates));
on("opened", () => {
  notKept = "";
  $("done").checked = state.film.done;
  guarded(askForNews)();
});
on("closed", () => { $("elsewhere").hidden = true; });

let shownAs = "";
on("changed", () => {
  const { film, busy } = state;
  const any = anyMasks();
  $("bring").disabled = !film || busy;
  $("done").disabled = !any || busy;
  $("get-clicks").disabled = !film || !state.prompts.any;
  const now = `${film?.key}:${any}:${film?.done}`;
  if (now !== shownAs && state.model) guarded(showStates)();
  shownAs = now;
});

$("done").addEventListener("change", guarded(async () => {
  const { film } = state;
  film.done = $("done").checked;
  await film.setDone(film.done);
  tell("changed");
}));

// ---- masks and clicks that are brought back

async function bring(file) {
  const { film, frame } = state;
  if (/\.json$/i.test(file.name)) {
    await work(() => film.bringClicks(file), "The clicks are in place.");
    await takeUp();
    return;
  }
  if (anyMasks() && !confirm("Put the masks of the file in place of those that are here?")) return;
  const { frames, notes } = await film.bringMasks(file, frame);
  if (film !== state.film) return;
  addNotes(notes);
  await takeUp();
  say(`Masks of ${frames} ${frames === 1 ? "frame" : "frames"} are in place.`);
}

$("bring").addEventListener("click", () => $("brought").click());
$("brought").addEventListener("change", guarded(async () => {
  const [file] = $("brought").files;
  $("brought").value = "";
  if (file) await bring(file);
}));
