// From the runs of a mask to its outline.

/** Pixels of a mask, 0 or 1, from its run lengths (zeros first), with a border of zeros. */
function padded(runs, width, height) {
  const stride = width + 2;
  const pixels = new Uint8Array(stride * (height + 2));
  let at = 0;
  runs.forEach((length, index) => {
    if (index % 2) {
      for (let i = at; i < at + length; i++) {
        pixels[(Math.floor(i / width) + 1) * stride + (i % width) + 1] = 1;
      }
    }
    at += length;
  });
  return pixels;
}

/**
 * Outline of a mask as a Path2D in pixels of the image (corners at whole numbers).
 * It runs along the borders of pixels, through the middle of each, so that steps become slopes.
 */
export function outline(runs, width, height) {
  const pixels = padded(runs, width, height);
  const stride = width + 2;
  // Borders as arrows from corner to corner, the mask on the right hand; two at most leave a corner.
  const arrows = new Map();
  const add = (from, to) => {
    const there = arrows.get(from);
    if (there) there.push(to);
    else arrows.set(from, [to]);
  };
  for (let y = 1; y <= height; y++) {
    for (let x = 1; x <= width; x++) {
      const i = y * stride + x;
      if (!pixels[i]) continue;
      if (!pixels[i - stride]) add(i, i + 1);
      if (!pixels[i + 1]) add(i + 1, i + 1 + stride);
      if (!pixels[i + stride]) add(i + 1 + stride, i + stride);
      if (!pixels[i - 1]) add(i + stride, i);
    }
  }
  const path = new Path2D();
  for (const start of arrows.keys()) {
    while (arrows.has(start)) follow(arrows, start, stride, path);
  }
  return path;
}

function follow(arrows, start, stride, path) {
  let at = start;
  let first = true;
  do {
    const ends = arrows.get(at);
    const next = ends.pop();
    if (!ends.length) arrows.delete(at);
    // Corner i of the padded grid is corner (x - 1, y - 1) of the image.
    const x = ((at % stride) + (next % stride)) / 2 - 1;
    const y = (Math.floor(at / stride) + Math.floor(next / stride)) / 2 - 1;
    if (first) path.moveTo(x, y);
    else path.lineTo(x, y);
    first = false;
    at = next;
  } while (at !== start);
  path.closePath();
}
