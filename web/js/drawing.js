// The drawing that IdentityNet is shown, as instantid_core/keypoints.py makes it. A point is [x, y].

const COLOURS = ['#f00', '#0f0', '#00f', '#ff0', '#f0f'] // eyes, nose, mouth corners
const NOSE = 2
const STICK_COLOURS = ['#900', '#090', null, '#990', '#909'] // at 0.6, as officially
const DOT_RADIUS = 10
const STICK_HALF_WIDTH = 4
const [SMALLEST, LARGEST] = [1024, 1280] // long sides of the official canvases

/** Round as Python does: halves to the even neighbour. */
function evenly(value) {
  const down = Math.floor(value)
  return value - down === 0.5 ? down + (down % 2) : Math.round(value)
}

/** Radius of a dot and half the width of a stick on a canvas, in its pixels. */
export function thickness(width, height) {
  const long = Math.max(width, height)
  const scale = long / Math.min(Math.max(long, SMALLEST), LARGEST)
  return [DOT_RADIUS, STICK_HALF_WIDTH].map((size) => Math.max(1, evenly(size * scale)))
}

/** Middle of a point's dot: OpenCV draws at whole pixels. */
export const dot = ([x, y]) => [Math.trunc(x), Math.trunc(y)]

/** A stick from a point to the nose is a flat ellipse: its middle, half length and degrees, whole. */
export const stick = ([x, y], [noseX, noseY]) => [
  dot([(x + noseX) / 2, (y + noseY) / 2]),
  Math.trunc(Math.hypot(x - noseX, y - noseY) / 2),
  Math.trunc((Math.atan2(y - noseY, x - noseX) * 180) / Math.PI)
]

/** The longer side of the box around a face's points. */
function extent(face) {
  const spans = [0, 1].map((axis) => face.map((point) => point[axis]))
  return Math.max(...spans.map((values) => Math.max(...values) - Math.min(...values)))
}

/** Draw faces in canvas pixels: of several, the larger over the smaller. */
export function drawFaces(context, faces, width, height) {
  const [radius, halfWidth] = thickness(width, height)
  const ellipse = (colour, [x, y], along, across, degrees) => {
    context.fillStyle = colour
    context.beginPath() // OpenCV fills the pixels that an outline runs through: half a pixel more
    const angle = (degrees * Math.PI) / 180
    context.ellipse(x + 0.5, y + 0.5, along + 0.5, across + 0.5, angle, 0, 2 * Math.PI)
    context.fill()
  }
  for (const face of [...faces].sort((one, other) => extent(one) - extent(other))) {
    for (const index of [0, 1, 3, 4]) {
      const [middle, halfLength, degrees] = stick(face[index], face[NOSE])
      ellipse(STICK_COLOURS[index], middle, halfLength, halfWidth, degrees)
    }
    face.forEach((point, index) => ellipse(COLOURS[index], dot(point), radius, radius, 0))
  }
}
