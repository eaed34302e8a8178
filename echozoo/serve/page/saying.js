// What the page says to the user in a line below the film.

import { $ } from "./panel.js";

let timer;

export function say(text, isError = false) {
  clearTimeout(timer);
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
  if (text && !isError) timer = setTimeout(() => say(""), 6000);
}

export const fail = (error) => say(error.message, true);

/** Run what a control does; what goes wrong is said. */
export const guarded = (action) => async (...given) => {
  try {
    await action(...given);
  } catch (error) {
    fail(error);
  }
};
