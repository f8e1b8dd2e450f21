// Faces on a canvas, each five points [x, y] in pixels: reading, writing, moving. None is changed.

import { faceBox, frontal } from './head.js'

export const SMALL_FACE = 112 // pixels: the crop that the face recogniser reads
export const MOST_FACES = 100
const VERSION = 1
const FURTHEST = 1_000_000 // pixels off the picture
const LARGEST_SIDE = 16384

const isPoint = (value) => value?.length === 2 && value.every((one) => Math.abs(one) <= FURTHEST && one === +one)
const isFace = (value) => Array.isArray(value?.points) && value.points.length === 5 && value.points.every(isPoint)
const isSide = (value) => Number.isInteger(value) && value >= 1 && value <= LARGEST_SIDE

/** Read an edit: { width, height, source, faces }, null for none; { problem } if it cannot be. */
export function read(text) {
  if (!text.trim()) return null
  let edit
  try {
    edit = JSON.parse(text)
  } catch {
    return { problem: 'badText' }
  }
  if (edit?.version !== VERSION) return { problem: 'badVersion' }
  const { width, height, source = null, faces } = edit
  if (!isSide(width) || !isSide(height) || !Array.isArray(faces)) return { problem: 'badText' }
  if (faces.length > MOST_FACES) return { problem: 'tooMany' }
  if (!faces.every(isFace)) return { problem: 'badPoints' }
  return { width, height, source, faces: faces.map((face) => face.points) }
}

/** Write an edit, its points to a thousandth of a pixel. */
export function write({ width, height, source = null, faces }) {
  const held = (value) => Math.round(limited(value, -FURTHEST, FURTHEST) * 1000) / 1000
  const written = faces.map((face) => ({ points: face.map((point) => point.map(held)) }))
  return JSON.stringify({ version: VERSION, width, height, source, faces: written })
}

export const limited = (value, low, high) => Math.min(Math.max(value, low), high)
export const middleOf = ([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2]
export const longerSide = ([left, top, right, bottom]) => Math.max(right - left, bottom - top)

/** A face with one point moved, or with all of them where none is named. */
export const pointMoved = (face, index, dx, dy) =>
  face.map(([x, y], number) => (index === null || number === index ? [x + dx, y + dy] : [x, y]))

/** Scale and tilt clockwise by degrees about a place, which comes to lie at another. */
export function placedAnew(face, scale, degrees, from = middleOf(faceBox(face)), to = from) {
  const [cos, sin] = [Math.cos, Math.sin].map((part) => scale * part((degrees * Math.PI) / 180))
  return face.map(([x, y]) => {
    const [dx, dy] = [x - from[0], y - from[1]]
    return [to[0] + cos * dx - sin * dy, to[1] + sin * dx + cos * dy]
  })
}

/** Left and right about a face's middle; the points keep their order as seen in the picture. */
export function mirrored(face) {
  const [middle] = middleOf(faceBox(face))
  return [1, 0, 2, 4, 3].map((index) => [2 * middle - face[index][0], face[index][1]])
}

/** A face as large as another and where that one is. */
export function fittedTo(face, other) {
  const [own, wanted] = [faceBox(face), faceBox(other)]
  return placedAnew(face, longerSide(wanted) / longerSide(own), 0, middleOf(own), middleOf(wanted))
}

/** The mean face from the front, in the upper middle of a canvas: `standard_face` of fitting.py. */
export function standardFace({ width, height }) {
  const [, top, , bottom] = faceBox(frontal())
  return placedAnew(frontal(), (0.44 * height) / (bottom - top), 0, undefined, [0.5 * width, 0.42 * height])
}

/** Faces of one canvas on another, as `fit` of instantid_core/fitting.py crops. */
export function fitted(faces, from, to) {
  if (!faces.length || (from.width === to.width && from.height === to.height)) return faces
  const boxes = faces.map(faceBox)
  const axes = ['width', 'height'].map((side, axis) => ({
    own: from[side],
    wanted: to[side],
    low: limited(Math.min(...boxes.map((box) => box[axis])), 0, from[side]),
    high: limited(Math.max(...boxes.map((box) => box[axis + 2])), 0, from[side])
  }))
  const cover = Math.max(...axes.map(({ own, wanted }) => wanted / own))
  const scale = Math.min(cover, ...axes.map(({ wanted, low, high }) => wanted / Math.max(high - low, 1e-6)))
  const offsets = axes.map(({ own, wanted, low, high }) => {
    const inside = Math.max((wanted - own * scale) / 2, -low * scale)
    return inside - Math.max(high * scale + inside - wanted, 0)
  })
  return faces.map((face) => face.map((point) => point.map((value, axis) => value * scale + offsets[axis])))
}
