// The frame on the stage: its picture, its masks, its prompts.

import { $ } from "./panel.js";
import { fail } from "./saying.js";
import { on, state, tell } from "./state.js";
import { View } from "./view.js";

export const view = new View($("canvas"));

let wanted = 0; // only the latest wish is drawn

/** Show a frame; without one, show the frame that is there anew. */
export async function show(next = state.frame) {
  const { film, model } = state;
  if (!film) return;
  state.frame = Math.min(Math.max(next, 0), film.frames - 1);
  const { frame } = state;
  const mine = ++wanted;
  tell("frame", frame);
  const [bitmap, paths] = await Promise.all([state.pictures.get(frame), state.outlines.get(frame)]);
  if (mine !== wanted || film !== state.film) return;
  const there = model.structures.filter(({ name }) => paths.has(name));
  const shown = state.allHidden ? [] : there.filter(({ name }) => !state.hidden.has(name));
  view.show({
    frame,
    bitmap,
    masks: shown.map(({ name, colour }) => ({ path: paths.get(name), colour })),
    prompts: model.structures.map(({ name, colour }) => ({ name, ...state.prompts.get(frame, name), colour })),
  });
  const titles = there.map(({ title }) => title).join(", ") || "none";
  $("canvas").setAttribute("aria-label", `Frame ${frame + 1} of ${film.frames}; masks: ${titles}`);
  $("canvas").dataset.shown = `${frame}:${there.length}`;
  state.pictures.ahead(frame);
  tell("changed");
}

/** Show it in its own time; what goes wrong is said. */
export const showSoon = (next) => { show(next).catch(fail); };

export function hideAll() {
  state.allHidden = !state.allHidden;
  showSoon();
}

on("opened", () => {
  const { film } = state;
  view.zoom.setFilm(film.width, film.height, film.spacing);
  view.zoom.reset();
  $("canvas").hidden = false;
});

on("closed", () => {
  view.scene = null;
  view.cross = null;
  $("canvas").hidden = true;
});

on("changed", () => {
  const { busy, model, structure } = state;
  view.locked = busy;
  view.structure = structure;
  view.colour = model?.structures.find(({ name }) => name === structure)?.colour;
  $("canvas").classList.toggle("locked", view.locked);
});
