// Which structure is worked on, and which are shown.

import { $, addStructures } from "./panel.js";
import { showSoon } from "./stage.js";
import { on, state, tell } from "./state.js";

/** Choose a structure by its place in the list; one that is not there is left alone. */
export function chooseStructure(index) {
  const chosen = state.model.structures[index];
  if (!chosen) return;
  state.structure = chosen.name;
  $(`structure-${chosen.name}`).checked = true;
  tell("changed");
}

on("ready", () => {
  addStructures(state.model.structures, chooseStructure, (name, shown) => {
    if (shown) state.hidden.delete(name);
    else state.hidden.add(name);
    showSoon();
  });
  chooseStructure(0);
});
