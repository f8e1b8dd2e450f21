// The picture of the editor: draws the canvas with its faces, and turns pointers, wheel and keys
// into changes of the edit. Canvas pixels are the node's, view pixels those of the element.

import { make } from './controls.js'
import { dot, drawFaces } from './drawing.js'
import { longerSide, middleOf, moved, placedAnew, pointMoved, SMALL_FACE } from './faces.js'
import { faceBox } from './head.js'

const REACH = { mouse: 11, pen: 14, touch: 24 } // view pixels around what a pointer takes hold of
const HANDLE = 22 // view pixels from a face's box to the ring that tilts it
const MOST_PIXELS = 2048 // of the canvas element's longer side, however far it is zoomed in
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
const CURSORS = { tilt: 'grab', point: 'crosshair', face: 'move' }

const limited = (value, low, high) => Math.min(Math.max(value, low), high)
const apart = ([x, y], [otherX, otherY]) => Math.hypot(otherX - x, otherY - y)
const angle = ([x, y], [toX, toY]) => (Math.atan2(toY - y, toX - x) * 180) / Math.PI

export class Picture {
  backdrop = null // { image, scale, offset } on the canvas
  canvas = make('canvas')
  // An input, because ComfyUI leaves keys alone while one has the focus: Delete, arrows, Ctrl+Z.
  pad = make('input', { className: 'iid-pad', readOnly: true })
  element = make('div', { className: 'iid-stage' }, this.canvas, this.pad)
  observer = new ResizeObserver(() => this.draw())
  #pointers = new Map() // canvas pixels by pointer
  #drag = null // { kind, face, from, hasMoved }

  constructor(edit) {
    this.edit = edit
    const listen = (name, listener) => this.pad.addEventListener(name, (event) => listener(event), { passive: false })
    listen('pointerdown', (event) => this.#down(event))
    listen('pointermove', (event) => this.#move(event))
    listen('pointerup', (event) => this.#up(event))
    listen('pointercancel', (event) => this.#up(event))
    listen('wheel', (event) => this.#wheel(event))
    listen('keydown', (event) => this.#key(event))
    this.pad.dataset.captureWheel = true
    this.observer.observe(this.element)
  }

  get #zoom() {
    return this.element.getBoundingClientRect().width / this.element.offsetWidth || 1
  }

  /** Lay the canvas into its element at its own aspect, and draw all of it. */
  draw() {
    const { width, height } = this.edit.size
    const { clientWidth, clientHeight } = this.element
    if (!clientWidth || !clientHeight) return
    this.unit = Math.max(width / clientWidth, height / clientHeight) // canvas pixels of a view pixel
    this.drawnAt = this.#zoom
    const view = [width / this.unit, height / this.unit]
    const sharp = Math.min(this.drawnAt * window.devicePixelRatio, MOST_PIXELS / Math.max(...view))
    for (const part of [this.canvas, this.pad]) {
      Object.assign(part.style, { width: `${view[0]}px`, height: `${view[1]}px` })
    }
    Object.assign(this.canvas, { width: view[0] * sharp, height: view[1] * sharp })
    const context = this.canvas.getContext('2d')
    context.scale(this.canvas.width / width, this.canvas.height / height)
    context.fillRect(0, 0, width, height)
    if (this.backdrop) {
      const { image, scale, offset } = this.backdrop
      context.globalAlpha = 0.5
      context.drawImage(image, ...offset, image.naturalWidth * scale, image.naturalHeight * scale)
      context.globalAlpha = 1
    }
    drawFaces(context, this.edit.faces, width, height)
    this.edit.faces.forEach((face, index) => this.#mark(context, face, index))
  }

  /** Draw again if the page shows the element larger or smaller than it was drawn. */
  keepSharp() {
    if (Math.abs(Math.log(this.#zoom / this.drawnAt)) > 0.1) this.draw()
  }

  /** The region of a face, its number, and what takes hold of the selected one. */
  #mark(context, face, index) {
    const { edit, unit } = this
    const box = faceBox(face)
    const [left, top, right, bottom] = box
    const side = longerSide(box)
    const isSelected = index === edit.selected
    const colour = side < SMALL_FACE ? '#ff9d3c' : isSelected ? '#fff' : '#9a9a9a'
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: 1.5 * unit })
    context.font = `${12 * unit}px sans-serif`
    context.setLineDash([5 * unit, 4 * unit])
    context.strokeRect(left, top, right - left, bottom - top)
    context.setLineDash([])
    const label = `${edit.faces.length > 1 ? index : ''} ${side < SMALL_FACE ? `${Math.round(side)} px` : ''}`
    context.fillText(label, left + 4 * unit, top - 4 * unit)
    if (!isSelected) return
    const ring = ([x, y], radius) => {
      context.beginPath()
      context.arc(x, y, radius * unit, 0, 2 * Math.PI)
      context.stroke()
    }
    ring(this.#handle(face), 6)
    if (edit.point !== null) ring(dot(face[edit.point]), 9)
  }

  /** Where the ring lies that tilts a face: above it, or below where there is no room. */
  #handle(face) {
    const [left, top, right, bottom] = faceBox(face)
    const { width, height } = this.edit.size
    const [away, edge] = [HANDLE * this.unit, 8 * this.unit]
    const y = top - away >= edge ? top - away : Math.min(bottom + away, height - edge)
    return [limited((left + right) / 2, edge, width - edge), limited(y, edge, height - edge)]
  }

  /** A pointer's place in canvas pixels; the page may show the element at any zoom. */
  #at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect()
    const { width, height } = this.edit.size
    return [((clientX - box.left) * width) / box.width, ((clientY - box.top) * height) / box.height]
  }

  /** What a pointer takes hold of: { kind, index, point }, the selected face before others. */
  #under(event) {
    const { faces, selected, face } = this.edit
    const at = this.#at(event)
    const reach = (REACH[event.pointerType] ?? REACH.mouse) * this.unit
    if (face && apart(at, this.#handle(face)) <= reach) return { kind: 'tilt', index: selected }
    const points = faces.flatMap((one, index) =>
      one.map((place, point) => ({ kind: 'point', index, point, rank: apart(at, dot(place)) }))
    )
    const regions = faces.map((one, index) => {
      const [left, top, right, bottom] = faceBox(one)
      const isIn = at[0] >= left && at[0] <= right && at[1] >= top && at[1] <= bottom
      return { kind: 'face', index, rank: isIn ? right - left : Infinity }
    })
    const first = (found) => found.find(({ index }) => index === selected) ?? found[0]
    const ranked = (found, most) => found.filter(({ rank }) => rank <= most).sort((a, b) => a.rank - b.rank)
    return first(ranked(points, reach)) ?? first(ranked(regions, Number.MAX_VALUE))
  }

  #down(event) {
    if (event.button !== 0) return
    this.pad.setPointerCapture(event.pointerId)
    this.#pointers.set(event.pointerId, this.#at(event))
    if (this.#pointers.size === 2) return this.#begin('pinch')
    const hit = this.#under(event)
    if (!hit) return
    this.edit.select(hit.index, hit.point ?? null)
    this.#begin(hit.kind)
  }

  /** From here on every move is counted from the face as it is now. */
  #begin(kind) {
    const { face } = this.edit
    const hasMoved = this.#drag?.hasMoved ?? false
    this.#drag = face && { kind, face, from: [...this.#pointers.values()], hasMoved }
  }

  #move(event) {
    if (!this.#pointers.has(event.pointerId)) {
      this.pad.style.cursor = CURSORS[this.#under(event)?.kind] ?? 'default'
      return
    }
    this.#pointers.set(event.pointerId, this.#at(event))
    if (!this.#drag) return
    this.#drag.hasMoved = true
    this.edit.tryFace(this.#dragged())
  }

  /** The face as the pointers have it now. */
  #dragged() {
    const { kind, face, from: [start, other] } = this.#drag
    const [now, otherNow] = this.#pointers.values()
    const by = [now[0] - start[0], now[1] - start[1]]
    if (kind === 'face') return moved(face, ...by)
    if (kind === 'point') return pointMoved(face, this.edit.point, ...by)
    if (kind === 'tilt') {
      const middle = middleOf(faceBox(face))
      return placedAnew(face, 1, angle(middle, now) - angle(middle, start), middle)
    }
    const scale = apart(now, otherNow) / Math.max(apart(start, other), 1)
    const tilt = angle(now, otherNow) - angle(start, other)
    return placedAnew(face, scale, tilt, middleOf([...start, ...other]), middleOf([...now, ...otherNow]))
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return
    const hasMoved = this.#drag?.hasMoved
    this.#drag = null
    if (!hasMoved) return
    if (event.type === 'pointercancel') this.edit.putBack()
    else this.edit.commit()
  }

  /** The wheel sizes the face once the picture has the focus; before, it belongs to the graph. */
  #wheel(event) {
    if (document.activeElement !== this.pad || !this.edit.face) return
    event.preventDefault()
    event.stopPropagation()
    const factor = Math.exp(-limited(event.deltaY, -100, 100) / 1000)
    this.edit.changeFace((face) => placedAnew(face, factor, 0), 'wheel')
  }

  #key(event) {
    const { edit } = this
    const much = event.shiftKey ? 10 : 1
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    const change = (scale, tilt) => () => edit.changeFace((face) => placedAnew(face, scale, tilt), key)
    const keys = {
      '+': change(1.01 ** much, 0),
      '=': change(1.01 ** much, 0),
      '-': change(1.01 ** -much, 0),
      r: change(1, much),
      l: change(1, -much),
      PageDown: () => edit.select(edit.selected + 1),
      PageUp: () => edit.select(edit.selected - 1),
      Delete: () => edit.remove(),
      Backspace: () => edit.remove(),
      Escape: () => (edit.point === null ? this.pad.blur() : edit.select(edit.selected))
    }
    const controlKeys = { z: () => (event.shiftKey ? edit.redo() : edit.undo()), y: () => edit.redo() }
    let action = event.ctrlKey || event.metaKey ? controlKeys[key] : keys[key]
    if (ARROWS[key]) action = () => this.#nudge(ARROWS[key].map((side) => side * much))
    if (/^[1-5]$/.test(key)) action = () => edit.face && edit.select(edit.selected, Number(key) - 1)
    if (!action || event.altKey) return
    event.preventDefault()
    event.stopPropagation()
    action()
  }

  #nudge(by) {
    const { point } = this.edit
    const move = (face) => (point === null ? moved(face, ...by) : pointMoved(face, point, ...by))
    this.edit.changeFace(move, 'arrow')
  }
}
