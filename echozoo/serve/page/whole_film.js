// Work on all frames: segmenting by itself, carrying masks on, starting over.

import { edit, sendAll } from "./edits.js";
import { anyMasks, measure } from "./measures.js";
import { $ } from "./panel.js";
import { stopPlaying } from "./playing.js";
import { guarded, say } from "./saying.js";
import { show } from "./stage.js";
import { on, state, tell } from "./state.js";

const EVERY = 350; // ms between two looks at a job

const carry = () => work(() => state.film.carry(state.frame, $("way").value));
export const segment = () => work(() => state.film.segment());

/** Start a job on the film and show what it does until it ends; then say `done`. */
export async function work(start, done = "Every frame is segmented.") {
  const { film } = state;
  stopPlaying();
  await sendAll();
  let job = await start();
  state.busy = true;
  say("");
  $("progress-box").hidden = false;
  try {
    while (film === state.film) {
      $("progress").max = job.total;
      $("progress").value = job.done;
      $("progress-text").textContent = `${job.done} of ${job.total} frames`;
      state.outlines.forget();
      await show();
      await measure();
      if (job.state !== "running") break;
      await new Promise((resolve) => setTimeout(resolve, EVERY));
      job = await film.job();
    }
  } finally {
    if (film === state.film) {
      state.busy = false;
      $("progress-box").hidden = true;
      tell("changed");
    }
  }
  if (film !== state.film) return;
  if (job.state === "failed") throw new Error(job.error);
  const correct = state.model.prompts.length ? " Click in any frame to correct it." : "";
  say(job.state === "done"
    ? `${done}${correct}`
    : `Stopped after ${job.done} of ${job.total} frames.`);
}

async function reset() {
  await edit(async (film) => { await film.clear(); });
  say("All masks and prompts are gone; Undo brings them back.");
}

on("ready", () => {
  const { automatic, prompts } = state.model;
  $("segment").hidden = !automatic;
  $("carry").hidden = $("way").hidden = !prompts.length;
  $("carry").classList.toggle("primary", !automatic);
});

on("closed", () => {
  state.busy = false;
  $("progress-box").hidden = true;
});

on("changed", () => {
  const { busy, film, frame, measured } = state;
  const any = anyMasks();
  const here = any && measured.lines.some(({ values }) => values[frame] > 0);
  $("carry").disabled = busy || !film || !here || film.frames < 2;
  $("segment").disabled = !film || busy;
  $("reset").disabled = !any || busy;
  $("stop").hidden = !busy;
  $("reset").hidden = busy;
});

$("segment").addEventListener("click", guarded(segment));
$("carry").addEventListener("click", guarded(carry));
$("stop").addEventListener("click", guarded(() => state.film.stop()));
$("reset").addEventListener("click", guarded(reset));
