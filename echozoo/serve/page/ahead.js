// The server is told which frame is looked at: it encodes what is near before anyone clicks there.

import { on, state } from "./state.js";

const STILL = 200; // ms

let timer;
let told = "";

on("closed", () => { told = ""; });

on("changed", () => {
  const { film, frame, busy, model } = state;
  if (!film || !model.prompts.length) return;
  const now = `${film.key}:${frame}:${busy}:${film.spacing}`;
  if (now === told) return;
  told = now;
  clearTimeout(timer);
  if (!busy) timer = setTimeout(() => film.look(frame).catch(() => {}), STILL);
});
