// What the user changes goes to the server in its order, one at a time; undo and redo are there.

import { measure } from "./measures.js";
import { $ } from "./panel.js";
import { Prompts } from "./prompts.js";
import { fail, say } from "./saying.js";
import { show } from "./stage.js";
import { on, state, tell } from "./state.js";

const waiting = []; // {send, ended}
let sending = null;

/**
 * Change something at the server.
 *
 * send: (film) -> a promise of {frame, masks}, or of nothing where all has to be asked for anew;
 * ended: called once the page shows what became of it.
 */
export function edit(send, ended = () => {}) {
  waiting.push({ send, ended });
  return sendAll();
}

/** Send what is not yet at the server; it stays here as long as that does not answer. */
export function sendAll() {
  sending ??= drain().finally(() => { sending = null; });
  return sending;
}

/** Whether the server does not know all of it. */
export const isUnsent = () => waiting.length > 0 || sending !== null;

async function drain() {
  const { film } = state;
  while (waiting.length && film === state.film) {
    const [{ send, ended }] = waiting;
    $("canvas").setAttribute("aria-busy", "true");
    try {
      const answer = await send(film);
      if (film !== state.film) return;
      if (answer) await state.outlines.put(answer.frame, answer.masks);
      waiting.shift();
      ended();
      if (answer) await show();
      else await takeUp();
      if (answer) await measure();
    } catch (error) {
      if (film !== state.film) return;
      fail(error);
      if (!error.status) return; // no answer: again with the next news
      // What follows was meant for what is not.
      for (const one of waiting.splice(0)) one.ended();
      await takeUp();
    } finally {
      $("canvas").removeAttribute("aria-busy");
    }
  }
}

/** Take up what the server has of the film. */
export async function takeUp() {
  const clicks = await state.film.clicks();
  state.prompts = new Prompts(clicks);
  state.outlines.forget();
  await show();
  await measure();
}

async function step(film, way) {
  const { frames, spacing } = await film.step(way);
  if (film !== state.film) return;
  if (String(spacing) !== String(film.spacing)) await respace(film);
  if (frames.length === 1) state.frame = frames[0]; // where it can be seen
  else if (frames.length > 1) say(`The masks of ${frames.length} frames are as they were.`);
}

/** The film's spacing has changed: what was said of the film is to be said anew. */
export async function respace(film) {
  Object.assign(film, await film.facts());
  tell("respaced");
}

const steps = (way) => (state.film && !state.busy && (state.measured?.[way] || isUnsent())
  ? edit((film) => step(film, way))
  : undefined);
export const undo = () => steps("undo");
export const redo = () => steps("redo");

on("closed", () => { waiting.length = 0; });

on("changed", () => {
  for (const way of ["undo", "redo"]) {
    $(way).disabled = !state.film || state.busy || !state.measured?.[way];
  }
});

$("undo").addEventListener("click", undo);
$("redo").addEventListener("click", redo);
