// Points and boxes: from the pointer to the server, and its masks back onto the stage.

import { measure } from "./measures.js";
import { $ } from "./panel.js";
import { fail, say } from "./saying.js";
import { show, showSoon, view } from "./stage.js";
import { on, state } from "./state.js";

const HOW_TO = {
  points: "Left click: this belongs to the structure. Right click, or Shift and click: this does not.",
  boxes: "Draw a box around the structure. Shift and click: this does not belong to it.",
  none: "This model takes no clicks: it segments the film by itself.",
};

const toSend = new Map();
let sending = null;

/** Ask for the mask of a structure in a frame; of several wishes for one, the last counts. */
function send(at, name) {
  toSend.set(`${at}:${name}`, [at, name]);
  return sendAll();
}

/** Send what is not yet at the server; it stays here as long as that does not answer. */
export function sendAll() {
  sending ??= drain().finally(() => { sending = null; });
  return sending;
}

/** Whether the server does not know all of it. */
export const isUnsent = () => toSend.size > 0 || sending !== null;

async function drain() {
  const { film, prompts } = state;
  while (toSend.size && film === state.film) {
    const [key, [at, name]] = toSend.entries().next().value;
    toSend.delete(key);
    $("canvas").setAttribute("aria-busy", "true");
    try {
      const answer = prompts.has(at, name)
        ? await film.click({ frame: at, structure: name, ...prompts.get(at, name) })
        : await film.unclick(at, name);
      if (film !== state.film) return;
      await state.outlines.put(at, answer.masks);
      await show();
      await measure();
    } catch (error) {
      if (film !== state.film) return;
      fail(error);
      if (!error.status) { // no answer: again with the next news
        if (!toSend.has(key)) toSend.set(key, [at, name]);
        return;
      }
      if (error.status === 422) prompts.undo(); // what was refused is not kept
      await show();
    } finally {
      $("canvas").removeAttribute("aria-busy");
    }
  }
}

function changed(at, name) {
  showSoon(); // the mark at once, the mask when it comes
  send(at, name);
}

view.addEventListener("point", ({ detail: { x, y, background } }) => {
  const { frame, model, prompts, structure } = state;
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
  state.prompts.setBox(state.frame, state.structure, box);
  changed(state.frame, state.structure);
});

export function undo() {
  if (!state.film || state.busy) return;
  const undone = state.prompts.undo();
  if (!undone) return;
  if (undone.frame !== state.frame) showSoon(undone.frame);
  changed(undone.frame, undone.structure);
}

function clear() {
  state.prompts.clear(state.frame, state.structure);
  changed(state.frame, state.structure);
}

/** Choose the kind of prompt, if the model was trained with it. */
export function choosePrompt(kind) {
  const { prompts } = state.model;
  if (prompts.length && !prompts.includes(kind)) return;
  view.tool = kind;
  document.querySelector(`[name=tool][value=${kind}]`).checked = true;
  $("how-to").textContent = HOW_TO[prompts.length ? kind : "none"];
}

on("ready", () => {
  const { prompts, trained } = state.model;
  for (const radio of document.querySelectorAll("[name=tool]")) {
    radio.disabled = !prompts.includes(radio.value);
    if (radio.disabled) radio.parentElement.title = "This model was not trained with it";
    radio.addEventListener("change", () => choosePrompt(radio.value));
  }
  choosePrompt(["points", "boxes"].find((kind) => trained.includes(kind)) ?? "points");
  $("prompts").querySelector(".row").hidden = !prompts.length;
});

on("closed", () => toSend.clear());

on("changed", () => {
  const { busy, film, frame, prompts, structure } = state;
  $("undo").disabled = !film || busy || !prompts.canUndo;
  $("clear").disabled = !film || busy || !prompts.has(frame, structure);
});

$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
