// Going through the frames: the slider, playing, stopping where someone looks.

import { $ } from "./panel.js";
import { fail } from "./saying.js";
import { show, showSoon } from "./stage.js";
import { on, state } from "./state.js";

let playing = null;

export function stopPlaying() {
  clearTimeout(playing);
  playing = null;
  $("play").classList.remove("playing");
  $("play").setAttribute("aria-label", "Play");
}

/** Look at one frame. */
export function goTo(frame) {
  stopPlaying();
  showSoon(frame);
}

export function play() {
  const { film } = state;
  if (!film || film.frames < 2) return;
  if (playing !== null) {
    stopPlaying();
    return;
  }
  $("play").classList.add("playing");
  $("play").setAttribute("aria-label", "Stop");
  const step = Math.min(Math.max(film.frame_time_ms || 40, 20), 200);
  const tick = async () => {
    const due = performance.now() + step;
    try {
      await show((state.frame + 1) % film.frames);
    } catch (error) {
      stopPlaying();
      fail(error);
      return;
    }
    if (playing !== null) playing = setTimeout(tick, Math.max(0, due - performance.now()));
  };
  playing = setTimeout(tick, 0);
}

on("opened", () => {
  $("slider").max = state.film.frames - 1;
  $("slider").disabled = $("play").disabled = state.film.frames < 2;
});

on("closed", () => {
  stopPlaying();
  $("counter").textContent = "";
  $("slider").disabled = $("play").disabled = true;
});

on("frame", (frame) => {
  const { frames, frame_time_ms: step } = state.film;
  const time = step ? `, ${(frame * step).toFixed(0)} ms` : "";
  $("slider").value = frame;
  $("slider").setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}`);
  $("counter").textContent = `${frame + 1} of ${frames}${time}`;
});

$("slider").addEventListener("input", () => goTo(Number($("slider").value)));
$("play").addEventListener("click", play);
