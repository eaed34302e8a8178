// Frames whose masks cannot be right, as `echozoo infer` flags them; the way from one to the next.

import { $ } from "./panel.js";
import { goTo } from "./playing.js";
import { say } from "./saying.js";
import { on, state } from "./state.js";

const flagged = () => (state.measured?.flags ?? []).flatMap((flags, frame) => (flags.length ? [frame] : []));

/** Go to the next flagged frame, or the one before; at the end begin anew. */
export function nextFlagged(way) {
  if (!state.film) return;
  const frames = flagged();
  if (!frames.length) {
    say("No frame is flagged.");
    return;
  }
  const next = way > 0
    ? frames.find((frame) => frame > state.frame) ?? frames[0]
    : frames.findLast((frame) => frame < state.frame) ?? frames[frames.length - 1];
  goTo(next);
}

on("changed", () => {
  const frames = flagged();
  $("next-flagged").disabled = !frames.length;
  $("next-flagged").textContent = `${frames.length} flagged`;
  const here = state.film ? state.measured?.flags?.[state.frame] ?? [] : [];
  $("flags").textContent = $("flags").title = here.join("; ");
});

$("next-flagged").addEventListener("click", () => nextFlagged(1));
