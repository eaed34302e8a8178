// What the keys do, everywhere on the page and with the crosshair.

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
    if (!view.locked) view.click(cross.x, cross.y, event.shiftKey);
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
  const control = event.target.closest("button, select, summary, input[type=radio]");
  if (!control || control.matches("select")) return Boolean(control);
  const own = control.matches("input") ? /^(Arrow.*| )$/ : /^( |Enter)$/;
  return own.test(event.key);
}

/**
 * act: {film(), frames: {to(frame), now()}, structure(index) -> action, tool(kind), hide(), play(),
 * undo()}
 */
export function listenToKeys(view, act) {
  const keys = {
    ArrowLeft: () => act.frames.to(act.frames.now() - 1),
    ArrowRight: () => act.frames.to(act.frames.now() + 1),
    Home: () => act.frames.to(0),
    End: () => act.frames.to(act.film().frames - 1),
    " ": act.play,
    h: act.hide,
    p: () => act.tool("points"),
    b: () => act.tool("boxes"),
    c: () => {
      const { width, height } = act.film();
      view.cross = view.cross ? null : { x: width >> 1, y: height >> 1 };
      view.canvas.focus();
      view.draw();
    },
  };
  document.addEventListener("keydown", (event) => {
    const film = act.film();
    if (!film || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      act.undo();
      return;
    }
    if (isOwn(event)) return;
    if (view.cross && document.activeElement === view.canvas && crossKey(view, film, event)) {
      event.preventDefault();
      return;
    }
    const action = act.structure(Number(event.key) - 1) ?? keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
