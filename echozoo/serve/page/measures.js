// What the masks measure: areas beside the structures, the curve, volumes; files to take away.

import { Curve } from "./curve.js";
import { $, showLegend, showNumbers } from "./panel.js";
import { goTo } from "./playing.js";
import { guarded } from "./saying.js";
import { on, state, tell } from "./state.js";

const curve = new Curve($("curve"));

/** Whether anything is segmented. */
export const anyMasks = () => Boolean(state.film && state.measured?.lines.length);

/** Ask for the measures of what is segmented so far. */
export async function measure() {
  const { film, model } = state;
  if (!film) return;
  const got = await film.measures();
  if (film !== state.film) return;
  const lines = model.structures
    .map(({ name, title, colour }) => ({ name, title, colour, values: got.areas[name] ?? [] }))
    .filter(({ values }) => values.some((value) => value !== null));
  state.measured = { ...got, lines };
  showMeasures();
  tell("changed");
}

/** The places of curve and numbers are there from the start: nothing moves when they come. */
function showMeasures() {
  const { film, measured } = state;
  const any = anyMasks();
  showLegend(any ? measured.lines : []);
  showNumbers(any ? measured.numbers : []);
  $("method").textContent = any ? measured.method : "";
  if (!any) {
    curve.clear();
    return;
  }
  $("unit").textContent = measured.unit;
  curve.show({ frames: film.frames, unit: measured.unit, lines: measured.lines, marks: measured.marks,
    flags: measured.flags, corrected: measured.corrected });
  curve.at(state.frame);
}

const area = (value) => value.toFixed(value < 100 ? 1 : 0);

on("frame", (frame) => curve.at(frame));

on("closed", () => {
  state.measured = null;
  showMeasures();
});

on("changed", () => {
  const { frame, measured, model } = state;
  const any = anyMasks();
  for (const id of ["get-masks", "get-table"]) $(id).disabled = !any || state.busy;
  for (const { name } of model?.structures ?? []) {
    const value = any ? measured.areas[name]?.[frame] ?? null : null;
    $(`area-${name}`).textContent = value === null ? "" : `${area(value)} ${measured.unit}`;
  }
});

curve.addEventListener("frame", ({ detail }) => goTo(detail.frame));

const stem = () => state.fileName.split("/").pop().replace(/\.(nii\.gz|\w+)$/i, "") || "film";
const download = (what, name) => state.film.download(what, `${stem()}_${name}`);
$("get-masks").addEventListener("click", guarded(() => download("masks.nii.gz", "masks.nii.gz")));
$("get-table").addEventListener("click", guarded(() => download("measures.csv", "measures.csv")));
$("get-clicks").addEventListener("click", guarded(() => download("clicks.json", "clicks.json")));
