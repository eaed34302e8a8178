// The page: each subject is a module of its own; this one brings them together.

import "./keeping.js";
import "./measures.js";
import "./opening.js";
import * as server from "./server.js";
import { listenToKeys } from "./keys.js";
import { goTo, play } from "./playing.js";
import { choosePrompt, undo } from "./prompting.js";
import { guarded } from "./saying.js";
import { hideAll, view } from "./stage.js";
import { state, tell } from "./state.js";
import { chooseStructure } from "./structures.js";

listenToKeys(view, {
  ArrowLeft: () => goTo(state.frame - 1),
  ArrowRight: () => goTo(state.frame + 1),
  Home: () => goTo(0),
  End: () => goTo(state.film.frames - 1),
  " ": play,
  h: hideAll,
  p: () => choosePrompt("points"),
  b: () => choosePrompt("boxes"),
  ...Object.fromEntries(Array.from({ length: 9 }, (_, index) => [index + 1, () => chooseStructure(index)])),
  "Control+z": undo,
});

guarded(async () => {
  state.model = await server.model();
  tell("ready");
})();
