// Which way a face looks, and its points [x, y] when it looks another way: instantid_core/head.py
// explains it, and has the same numbers.

// The mean head in distances between the pupils, what it turns about, and its face as an ellipsoid.
const HEAD = [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.58, 0.57], [-0.41, 1.15, 0.08], [0.41, 1.15, 0.08]]
const PIVOT = [0, 0.6, -1.4]
const FACE_MIDDLE = [0, 0.325, -0.42]
const FACE_HALF = [1.15, 1.525, 1]
const FLAT = 1e-3
const DEGREE = Math.PI / 180

export const FURTHEST = 85 // degrees of yaw and pitch: beyond, the face looks away

// Yaw (to the right of the picture) and pitch (up) of where a head can look, in degrees.
export const LOOKS = {
  profileLeft: [-80, 0],
  threeQuarterLeft: [-40, 0],
  frontal: [0, 0],
  threeQuarterRight: [40, 0],
  profileRight: [80, 0],
  up: [0, 25],
  down: [0, -25]
}

const sum = (values) => values.reduce((total, value) => total + value, 0)
const minus = (one, other) => one.map((value, axis) => value - other[axis])
const plus = (one, other) => one.map((value, axis) => value + other[axis])
const dot = (one, other) => sum(one.map((value, axis) => value * other[axis]))
const mean = (points) => points.reduce(plus).map((value) => value / points.length)
const centred = (points) => points.map((point) => minus(point, mean(points)))
/** The product of two matrices, each a list of rows. */
const product = (one, other) =>
  one.map((row) => other[0].map((_, column) => dot(row, other.map((line) => line[column]))))

/** What finds the linear map in five points: the pseudo-inverse of the mean head, transposed. */
const FROM_POINTS = (() => {
  const own = centred(HEAD)
  const [xx, yy, yz, zz] = [[0, 0], [1, 1], [1, 2], [2, 2]].map(([a, b]) => sum(own.map((p) => p[a] * p[b])))
  const det = yy * zz - yz * yz // x is apart from y and z: a head is the same left and right
  return own.map(([x, y, z]) => [x / xx, (zz * y - yz * z) / det, (yy * z - yz * y) / det])
})()

/** From the mean head's axes to pixels: two rows of three. */
function flattened({ yaw, pitch, roll, stretch }) {
  const [cy, cp, cr] = [yaw, pitch, roll].map((angle) => Math.cos(angle * DEGREE))
  const [sy, sp, sr] = [yaw, pitch, roll].map((angle) => Math.sin(angle * DEGREE))
  const turn = product([[cr, -sr], [sr, cr]], [[cy, sy * sp, sy * cp], [0, cp, -sp]])
  return product(stretch, turn)
}

const project = (head, point) =>
  plus(flattened(head).map((row) => dot(row, minus(point, PIVOT))), head.place)

const pointsOf = (head) => HEAD.map((point, index) => plus(project(head, point), head.rest[index]))

/** Put a head where its points are, and keep what it does not explain. */
function placed(points, angles, stretch) {
  const head = { ...angles, stretch, place: [0, 0], rest: HEAD.map(() => [0, 0]) }
  head.place = minus(mean(points), mean(pointsOf(head)))
  head.rest = pointsOf(head).map((point, index) => minus(points[index], point))
  return head
}

/** The head that five points show: { yaw, pitch, roll, stretch, place, rest }. */
export function seen(points) {
  const own = centred(points)
  const found = [0, 1].map((side) => product([own.map((point) => point[side])], FROM_POINTS)[0])
  const [p, q, r] = [dot(found[0], found[0]), dot(found[0], found[1]), dot(found[1], found[1])]
  const det = Math.sqrt(Math.max(p * r - q * q, 0))
  if (det <= FLAT * (p + r)) {
    const flat = centred(HEAD).flatMap(([x, y]) => [x, y])
    const size = Math.max(Math.hypot(...own.flat()) / Math.hypot(...flat), 1) // points on one line
    return placed(points, { yaw: 0, pitch: 0, roll: 0 }, [[size, 0], [0, size]])
  }
  const trace = Math.sqrt(p + r + 2 * det)
  const over = (divisor, rows) => rows.map((row) => row.map((value) => value / divisor))
  const rows = product(over(det * trace, [[r + det, -q], [-q, p + det]]), found)
  const [[ax, ay, az], [bx, by, bz]] = rows
  const angle = (y, x) => Math.atan2(y, x) / DEGREE
  const angles = {
    yaw: angle(by * az - ay * bz, Math.hypot(ax, bx)),
    pitch: angle(az * bx - ax * bz, ax * by - ay * bx),
    roll: angle(bx, ax)
  }
  return placed(points, angles, over(trace, [[p + det, q], [q, r + det]]))
}

/** Five points that look to a yaw and a pitch, as large and where they are. */
export const looking = (points, yaw, pitch) => pointsOf({ ...seen(points), yaw, pitch })

/** Left, top, right and bottom of a face, forehead to chin. */
export function faceBox(points) {
  const head = seen(points)
  const middle = project(head, FACE_MIDDLE)
  const half = flattened(head).map((row) => Math.hypot(...row.map((value, axis) => value * FACE_HALF[axis])))
  return [...minus(middle, half), ...plus(middle, half)]
}

/** The mean head from the front, in distances between the pupils. */
export const frontal = () => HEAD.map(([x, y]) => [x, y])
