// What the keys do, everywhere on the page and with the crosshair.

import { state } from "./state.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value, size) => Math.min(Math.max(value, 0), size - 1);

/** A key while the crosshair is on; whether it was one of its own. */
function crossKey(view, film, event) {
  const { cross } = view;
  if (MOVES[event.key]) {
    const step = event.shiftKey ? 10 : 1;
    const [dx, dy] = MOVES[event.key];
    cross.x = within(cross.x + step * dx, film.width);
    cross.y = within(cross.y + step * dy, film.height);
  } else if (event.key === "Enter") {
    if (!view.locked) view.tool.tap(cross, event.shiftKey !== view.removing);
  } else if (event.key === "Escape") {
    view.cross = null;
  } else {
    return false;
  }
  view.draw();
  return true;
}

/** Whether a key belongs to the control that has the focus. */
function isOwn(event) {
  const control = event.target.closest("button, select, summary, input:not(#slider)");
  if (!control || control.matches("select, input[type=number]")) return Boolean(control);
  const own = control.matches("input[type=radio], input[type=range]") ? /^(Arrow.*| )$/ : /^( |Enter)$/;
  return own.test(event.key);
}

/**
 * Listen to the keys while a film is open.
 *
 * actions: what each key does, by `event.key` with letters small; "Control+z" is Cmd+Z on a Mac too.
 * With Shift a key is another one where there is an action for it.
 */
export function listenToKeys(view, actions) {
  const keys = {
    ...actions,
    c: () => {
      const { width, height } = state.film;
      view.cross = view.cross ? null : { x: width >> 1, y: height >> 1 };
      view.canvas.focus();
      view.draw();
    },
  };
  document.addEventListener("keydown", (event) => {
    const { film } = state;
    if (!film || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const control = event.ctrlKey || event.metaKey;
    if (!control && isOwn(event)) return;
    if (!control && view.cross && document.activeElement === view.canvas && crossKey(view, film, event)) {
      event.preventDefault();
      return;
    }
    const shift = event.shiftKey ? "Shift+" : "";
    const action = control ? keys[`Control+${shift}${key}`] : keys[shift + key] ?? keys[key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
