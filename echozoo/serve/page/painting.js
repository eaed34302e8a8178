// The brush's strokes on their way to the server, and its size.

import { BrushTool } from "./brush.js";
import { edit } from "./edits.js";
import { $ } from "./panel.js";
import { say } from "./saying.js";
import { view } from "./stage.js";
import { on, state } from "./state.js";

const FINEST = 0.5, WIDEST = 64; // radius, in pixels of the film

export const brush = new BrushTool(view);

/** Change the brush's radius; steps grow with it. */
export function resize(way) {
  setRadius(brush.radius + way * (brush.radius < 8 ? 0.5 : brush.radius < 20 ? 2 : 4));
}

function setRadius(radius) {
  brush.radius = Math.min(Math.max(Math.round(2 * radius) / 2, FINEST), WIDEST);
  $("size").value = brush.radius;
  $("size-text").textContent = `${2 * brush.radius} px`;
  view.draw();
}

view.addEventListener("stroke", ({ detail: stroke }) => {
  const { structure } = state;
  const { frame, points, radius, remove: erase } = stroke;
  say("");
  edit((film) => film.stroke({ frame, structure, points, radius, erase }), () => brush.dry(stroke));
});

on("closed", () => { brush.wet = []; });

$("size").addEventListener("input", () => setRadius(Number($("size").value)));
setRadius(brush.radius);
