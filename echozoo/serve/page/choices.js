// What the user decides of a film's numbers: its ED and ES, and its spacing where the file has none.

import { edit, respace } from "./edits.js";
import { $, showFacts } from "./panel.js";
import { guarded, say } from "./saying.js";
import { view } from "./stage.js";
import { on, state } from "./state.js";

/** Say that the frame that is shown is "ed" or "es"; said again, it is told from the areas. */
export function setInstant(name) {
  const { film, frame, measured } = state;
  if (!film || state.busy || !measured?.lines.length) return;
  const instants = { ...measured.instants, [name]: measured.instants[name] === frame ? null : frame };
  edit(async (its) => { await its.setInstants(instants); });
}

on("changed", () => {
  const { film, frame, measured, busy } = state;
  const can = Boolean(film && !busy && measured?.lines.length);
  for (const name of ["ed", "es"]) {
    const button = $(`set-${name}`);
    const set = can && measured.instants[name] === frame;
    button.disabled = !can;
    button.setAttribute("aria-pressed", String(set));
  }
});

$("set-ed").addEventListener("click", () => setInstant("ed"));
$("set-es").addEventListener("click", () => setInstant("es"));

// ---- spacing

const typed = (id) => {
  const value = $(id).valueAsNumber;
  return Number.isFinite(value) ? value : null;
};

function wanted() {
  const [dy, dx, depth] = [typed("spacing-y"), typed("spacing-x"), typed("depth")];
  if (depth !== null && (dy !== null || dx !== null)) throw new Error("Type the mm a pixel or the depth, not both.");
  if (depth !== null) return { depth_cm: depth };
  if (dy === null && dx === null) return {};
  return { spacing: [dy ?? dx, dx ?? dy] }; // one alone: square pixels
}

$("spacing-form").addEventListener("submit", guarded(async (event) => {
  event.preventDefault();
  const given = wanted();
  await edit(async (film) => {
    await film.setSpacing(given);
    if (film === state.film) await respace(film);
  });
  if (state.film?.spacing) say("The numbers are in mm and ml now.");
}));

on("opened", () => {
  $("spacing-form").hidden = state.film.spacing_known;
  $("spacing-form").reset();
});
on("closed", () => { $("spacing-form").hidden = true; });
on("respaced", () => {
  const { film } = state;
  showFacts(film);
  view.zoom.setFilm(film.width, film.height, film.spacing);
});
