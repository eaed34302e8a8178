// Enlarging and moving the image by buttons and keys.

import { $ } from "./panel.js";
import { view } from "./stage.js";
import { on, state } from "./state.js";

const STEP = 1.5;
const MOVE = 60; // CSS pixels

const change = (act) => () => {
  if (!state.film) return;
  act(view.zoom);
  view.draw();
};

export const zoomIn = change((zoom) => zoom.by(STEP));
export const zoomOut = change((zoom) => zoom.by(1 / STEP));
export const zoomFit = change((zoom) => zoom.reset());
export const moveView = (x, y) => change((zoom) => zoom.move(-x * MOVE, -y * MOVE))();

on("opened", () => { $("zoom").hidden = false; });
on("closed", () => { $("zoom").hidden = true; });

$("zoom-in").addEventListener("click", zoomIn);
$("zoom-out").addEventListener("click", zoomOut);
$("zoom-fit").addEventListener("click", zoomFit);
