// Mouse, pen and fingers on the stage: what a tool does not take moves or enlarges the image.

const DRAG = 4; // CSS pixels before a press becomes a drag

/**
 * view.tool: what the pointer does:
 *   press(place, drag) -> whether it takes the drag; move(place, drag); release(drag); cancel()
 *   tap(place, remove): pressed and let go without a drag; hover(place), null where it leaves
 * drag: {remove, moved, touch}
 */
export function listenToPointer(view) {
  const { canvas, zoom } = view;
  const fingers = new Map(); // pointerId -> its last event
  let drag = null;
  let pinch = null;

  const spread = () => {
    const [a, b] = fingers.values();
    return {
      x: (a.clientX + b.clientX) / 2,
      y: (a.clientY + b.clientY) / 2,
      far: Math.max(Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), 1),
    };
  };

  const onCanvas = (x, y) => {
    const bounds = canvas.getBoundingClientRect();
    return [x - bounds.left, y - bounds.top];
  };

  const stop = () => {
    if (drag?.taken) view.tool.cancel();
    drag = null;
    view.draw();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!view.scene || event.button > 2) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) { // no click, no stroke: the image is to be moved
      stop();
      pinch = spread();
    }
    if (fingers.size > 1) return;
    const place = zoom.place(event);
    drag = {
      from: event,
      last: event,
      moved: false,
      taken: false,
      touch: event.pointerType === "touch",
      remove: (event.button === 2 || event.shiftKey) !== view.removing,
      acts: event.button !== 1 && !event.altKey && !view.locked && zoom.isInside(place),
    };
    if (drag.acts) drag.taken = view.tool.press(place, drag);
    view.draw();
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!view.scene) return;
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
    if (pinch && fingers.size === 2) {
      const now = spread();
      zoom.by(now.far / pinch.far, ...onCanvas(now.x, now.y));
      zoom.move(now.x - pinch.x, now.y - pinch.y);
      pinch = now;
    } else if (drag) {
      drag.moved ||= Math.hypot(event.clientX - drag.from.clientX, event.clientY - drag.from.clientY) > DRAG;
      if (drag.taken) view.tool.move(zoom.place(event), drag);
      else if (drag.moved) zoom.move(event.clientX - drag.last.clientX, event.clientY - drag.last.clientY);
      drag.last = event;
    } else if (event.pointerType !== "touch") {
      view.tool.hover(view.locked ? null : zoom.place(event));
    }
    view.draw();
  });

  canvas.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size === 0) pinch = null;
    const ended = drag;
    drag = null;
    if (ended?.taken) view.tool.release(ended);
    else if (ended?.acts && !ended.moved) view.tool.tap(zoom.place(ended.from), ended.remove);
    view.draw();
  });

  canvas.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size === 0) pinch = null;
    stop();
  });
  canvas.addEventListener("pointerleave", () => { view.tool.hover(null); view.draw(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    if (!view.scene) return;
    event.preventDefault();
    const lines = event.deltaMode ? 16 : 1;
    zoom.by(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), ...onCanvas(event.clientX, event.clientY));
    view.draw();
  }, { passive: false });
}
