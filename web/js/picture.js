// The picture of the editor: draws the faces, and turns pointers, wheel and keys into changes.
// Canvas pixels are the node's, view pixels those of the element.

import { keep, make, row } from './controls.js'
import { dot, drawFaces } from './drawing.js'
import { limited, middleOf, placedAnew, pointMoved, SMALL_FACE } from './faces.js'
import { faceBox } from './head.js'

const [REACH, TOUCH_REACH] = [11, 24] // view pixels around what a pointer takes hold of
const HANDLE = 22 // view pixels from a face's box to the ring that tilts it
const MOST_SHARP = 4 // pixels drawn for a view pixel, however far it is zoomed in
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

const apart = ([x, y], [otherX, otherY]) => Math.hypot(otherX - x, otherY - y)
const angle = ([x, y], [toX, toY]) => (Math.atan2(toY - y, toX - x) * 180) / Math.PI

/** Make the picture of an edit. */
export function makePicture(edit) {
  const canvas = make('canvas')
  // An input, because ComfyUI leaves keys alone while one has the focus: Delete, arrows, Ctrl+Z.
  const pad = make('input', { className: 'iid-pad', readOnly: true })
  pad.dataset.captureWheel = true
  const element = row('stage', canvas, pad)
  const observer = new ResizeObserver(() => draw())
  observer.observe(element)
  const pointers = new Map() // canvas pixels by pointer
  let drag = null // { kind, face, from, hasMoved }
  let behind = null // { image, scale, offset } on the canvas
  let unit = 1 // canvas pixels of a view pixel

  /** How much larger than itself the page shows the element. */
  function zoom() {
    return element.getBoundingClientRect().width / element.offsetWidth || 1
  }

  /** Lay the canvas into its element at its own aspect, and draw all of it before a backdrop. */
  function draw(backdrop = behind) {
    behind = backdrop
    const { width, height } = edit.size
    if (!element.clientWidth || !element.clientHeight) return
    unit = Math.max(width / element.clientWidth, height / element.clientHeight)
    for (const { style } of [canvas, pad]) {
      Object.assign(style, { width: `${width / unit}px`, height: `${height / unit}px` })
    }
    const sharp = Math.min(zoom() * window.devicePixelRatio, MOST_SHARP) / unit
    Object.assign(canvas, { width: width * sharp, height: height * sharp })
    const context = canvas.getContext('2d')
    context.scale(sharp, sharp)
    if (behind) {
      const { image, scale, offset } = behind
      context.globalAlpha = 0.5
      context.drawImage(image, ...offset, image.naturalWidth * scale, image.naturalHeight * scale)
      context.globalAlpha = 1
    }
    drawFaces(context, edit.faces, width, height)
    edit.faces.forEach((face, index) => mark(context, face, index))
  }

  /** The region of a face, its number, and what takes hold of the selected one. */
  function mark(context, face, index) {
    const [left, top, right, bottom] = faceBox(face)
    const side = Math.max(right - left, bottom - top)
    const isSelected = index === edit.selected
    const colour = side < SMALL_FACE ? '#ff9d3c' : isSelected ? '#fff' : '#9a9a9a'
    const font = `${12 * unit}px sans-serif`
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: 1.5 * unit, font })
    context.setLineDash([5 * unit, 4 * unit])
    context.strokeRect(left, top, right - left, bottom - top)
    context.setLineDash([])
    const label = side < SMALL_FACE ? `${index}: ${Math.round(side)} px` : index
    context.fillText(label, left, bottom + 13 * unit)
    const rings = isSelected ? [[handle(face), 6]] : []
    if (isSelected && edit.point !== null) rings.push([dot(face[edit.point]), 9])
    for (const [[x, y], radius] of rings) {
      context.beginPath()
      context.arc(x, y, radius * unit, 0, 2 * Math.PI)
      context.stroke()
    }
  }

  /** Where the ring lies that tilts a face: above it, as far as there is room. */
  function handle(face) {
    const [left, top, right] = faceBox(face)
    const { width, height } = edit.size
    const inside = (value, side) => limited(value, 8 * unit, side - 8 * unit)
    return [inside((left + right) / 2, width), inside(top - HANDLE * unit, height)]
  }

  /** A pointer's place in canvas pixels; the page may show the element at any zoom. */
  function at({ clientX, clientY }) {
    const box = canvas.getBoundingClientRect()
    const scale = edit.size.width / box.width
    return [(clientX - box.left) * scale, (clientY - box.top) * scale]
  }

  /** What a pointer takes hold of: { kind, index, point }. Points go first, then the selected face. */
  function under(event) {
    const { faces, selected, face } = edit
    const place = at(event)
    const [x, y] = place
    const reach = (event.pointerType === 'touch' ? TOUCH_REACH : REACH) * unit
    if (face && apart(place, handle(face)) <= reach) return { kind: 'tilt', index: selected }
    const found = faces.flatMap((one, index) => {
      const after = index === selected ? 0 : 1e6
      const [left, top, right, bottom] = faceBox(one)
      const isIn = x >= left && x <= right && y >= top && y <= bottom
      const points = one.map((at, point) => ({ kind: 'point', index, point, far: apart(place, dot(at)), after }))
      const near = points.filter(({ far }) => far <= reach)
      return isIn ? [...near, { kind: 'face', index, far: right - left, after: after + 1e7 }] : near
    })
    return found.sort((one, other) => one.far + one.after - other.far - other.after)[0]
  }

  /** From here on every move is counted from the face as it is now. */
  function begin(kind) {
    const { face } = edit
    drag = face && { kind, face, from: [...pointers.values()], hasMoved: drag?.hasMoved ?? false }
  }

  /** The face as the pointers have it now. */
  function dragged() {
    const { kind, face, from } = drag
    const [[start, other], [now, otherNow]] = [from, pointers.values()]
    if (kind === 'tilt') {
      const middle = middleOf(faceBox(face))
      return placedAnew(face, 1, angle(middle, now) - angle(middle, start))
    }
    if (kind !== 'pinch') return pointMoved(face, edit.point, now[0] - start[0], now[1] - start[1])
    const scale = apart(now, otherNow) / Math.max(apart(start, other), 1)
    const tilt = angle(now, otherNow) - angle(start, other)
    return placedAnew(face, scale, tilt, middleOf(from.flat()), middleOf([now, otherNow].flat()))
  }

  pad.onpointerdown = (event) => {
    if (event.button !== 0) return
    pad.setPointerCapture(event.pointerId)
    pointers.set(event.pointerId, at(event))
    if (pointers.size === 2) return begin('pinch')
    const hit = under(event)
    if (!hit) return
    edit.select(hit.index, hit.point ?? null)
    begin(hit.kind)
  }

  pad.onpointermove = (event) => {
    if (!pointers.has(event.pointerId)) {
      pad.style.cursor = under(event) ? 'grab' : 'default'
      return
    }
    pointers.set(event.pointerId, at(event))
    if (!drag) return
    drag.hasMoved = true
    edit.tryFace(dragged())
  }

  pad.onpointerup = pad.onpointercancel = (event) => {
    if (!pointers.delete(event.pointerId)) return
    if (drag?.hasMoved) event.type === 'pointerup' ? edit.commit() : edit.show()
    drag = null
  }

  /** The wheel sizes the face once the picture has the focus; before, it belongs to the graph. */
  pad.onwheel = (event) => {
    if (document.activeElement !== pad || !edit.face) return
    keep(event)
    const factor = Math.exp(-limited(event.deltaY, -100, 100) / 1000)
    edit.changeFace((face) => placedAnew(face, factor, 0), 'wheel')
  }

  pad.onkeydown = (event) => {
    const { point, selected } = edit
    const much = event.shiftKey ? 10 : 1
    const key = event.key.length === 1 ? event.key.toLowerCase().replace('=', '+') : event.key
    const place = (scale, tilt) => () => edit.changeFace((face) => placedAnew(face, scale, tilt), key)
    const move = (x, y) => edit.changeFace((face) => pointMoved(face, point, much * x, much * y), `arrow ${point}`)
    const keys = {
      '+': place(1.01 ** much, 0),
      '-': place(1.01 ** -much, 0),
      r: place(1, much),
      l: place(1, -much),
      PageDown: () => edit.select(selected + 1),
      PageUp: () => edit.select(selected - 1),
      Delete: () => edit.remove(),
      Backspace: () => edit.remove(),
      Escape: () => (point === null ? pad.blur() : edit.select(selected)),
      [/^[1-5]$/.test(key) && key]: () => edit.face && edit.select(selected, key - 1),
      [ARROWS[key] && key]: () => move(...ARROWS[key])
    }
    const controlKeys = { z: () => (event.shiftKey ? edit.redo() : edit.undo()), y: () => edit.redo() }
    const action = (event.ctrlKey || event.metaKey ? controlKeys : keys)[key]
    if (!action || event.altKey) return
    keep(event)
    action()
  }

  return { element, pad, observer, draw, zoom }
}
