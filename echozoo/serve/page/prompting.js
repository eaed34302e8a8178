// Points and boxes: from the pointer to the server, and its masks back onto the stage.

import { BoxTool } from "./boxes.js";
import { edit } from "./edits.js";
import { brush } from "./painting.js";
import { $ } from "./panel.js";
import { PointTool } from "./points.js";
import { say } from "./saying.js";
import { showSoon, view } from "./stage.js";
import { on, state } from "./state.js";

const HOW_TO = {
  points: "Click: this belongs to the structure. Right click, Shift and click, or Remove: this does not.",
  boxes: "Draw a box around the structure; drag its inside or its edges. Shift and click: this does not belong to it.",
  brush: "Paint the structure. With Shift, the right button, or Remove: erase it. [ and ] change the size.",
};
const NO_PROMPTS = "This model takes no clicks: it segments the film by itself. The brush corrects it.";

const tools = { points: new PointTool(view), boxes: new BoxTool(view), brush };

/** Send all that was clicked for a structure in a frame. */
function send(frame, structure) {
  const given = state.prompts.get(frame, structure);
  showSoon(); // the mark at once, the mask when it comes
  edit((film) => film.click({ frame, structure, ...given }));
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
  send(frame, structure);
});

view.addEventListener("box", ({ detail: { box } }) => {
  say("");
  state.prompts.setBox(state.frame, state.structure, box);
  send(state.frame, state.structure);
});

/** Drop what was clicked and drawn of a structure in a frame. */
export function clear() {
  const { film, frame, structure } = state;
  if (!film || state.busy || !isCorrected()) return;
  state.prompts.clear(frame, structure);
  showSoon();
  edit((its) => its.unclick(frame, structure));
}

const isCorrected = () => Boolean(state.prompts?.has(state.frame, state.structure)
  || state.measured?.corrected.includes(state.frame));

/** Choose what the pointer does, if the model was trained with it. */
export function chooseTool(kind) {
  const { prompts } = state.model;
  if (kind !== "brush" && !prompts.includes(kind)) return;
  view.tool.hover(null);
  view.tool = tools[kind];
  view.draw();
  document.querySelector(`[name=tool][value=${kind}]`).checked = true;
  $("size-row").hidden = kind !== "brush";
  $("how-to").textContent = prompts.length ? HOW_TO[kind] : NO_PROMPTS;
}

/** What a tap does without Shift: add to the structure, or remove. */
export function chooseSign(removing) {
  view.removing = removing;
  document.querySelector(`[name=sign][value=${removing ? "remove" : "add"}]`).checked = true;
  view.draw();
}

on("ready", () => {
  const { prompts, trained } = state.model;
  for (const radio of document.querySelectorAll("[name=tool]")) {
    radio.disabled = radio.value !== "brush" && !prompts.includes(radio.value);
    if (radio.disabled) radio.parentElement.title = "This model was not trained with it";
    radio.addEventListener("change", () => chooseTool(radio.value));
  }
  chooseTool(["points", "boxes"].find((kind) => trained.includes(kind)) ?? "brush");
  for (const radio of document.querySelectorAll("[name=sign]")) {
    radio.addEventListener("change", () => chooseSign(radio.value === "remove"));
  }
});

on("changed", () => {
  $("clear").disabled = !state.film || state.busy || !isCorrected();
});

$("clear").addEventListener("click", clear);
