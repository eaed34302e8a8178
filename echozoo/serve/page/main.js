// The page: each subject is a module of its own; this one brings them together.

import "./ahead.js";
import "./keeping.js";
import "./measures.js";
import "./opening.js";
import * as server from "./server.js";
import { setInstant } from "./choices.js";
import { redo, undo } from "./edits.js";
import { nextFlagged } from "./flags.js";
import { listenToKeys } from "./keys.js";
import { goTo, play } from "./playing.js";
import { resize } from "./painting.js";
import { chooseSign, chooseTool, clear } from "./prompting.js";
import { guarded } from "./saying.js";
import { hideAll, view } from "./stage.js";
import { state, tell } from "./state.js";
import { chooseStructure } from "./structures.js";
import { moveView, zoomFit, zoomIn, zoomOut } from "./zooming.js";

listenToKeys(view, {
  ArrowLeft: () => goTo(state.frame - 1),
  ArrowRight: () => goTo(state.frame + 1),
  Home: () => goTo(0),
  End: () => goTo(state.film.frames - 1),
  " ": play,
  h: hideAll,
  p: () => chooseTool("points"),
  b: () => chooseTool("boxes"),
  d: () => chooseTool("brush"),
  x: () => chooseSign(!view.removing),
  "[": () => resize(-1),
  "]": () => resize(1),
  Delete: clear,
  e: () => setInstant("ed"),
  s: () => setInstant("es"),
  f: () => nextFlagged(1),
  "Shift+f": () => nextFlagged(-1),
  "+": zoomIn,
  "=": zoomIn,
  "-": zoomOut,
  0: zoomFit,
  "Shift+ArrowLeft": () => moveView(-1, 0),
  "Shift+ArrowRight": () => moveView(1, 0),
  "Shift+ArrowUp": () => moveView(0, -1),
  "Shift+ArrowDown": () => moveView(0, 1),
  ...Object.fromEntries(Array.from({ length: 9 }, (_, index) => [index + 1, () => chooseStructure(index)])),
  "Control+z": undo,
  "Control+Shift+z": redo,
  "Control+y": redo,
});

guarded(async () => {
  state.model = await server.model();
  tell("ready");
})();
