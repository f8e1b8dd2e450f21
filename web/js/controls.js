// The buttons and sliders around the picture. Each has a label and a tooltip in the person's
// language, works by keyboard, and shows whether it can do anything now.

import { COLOURS, NOSE } from './drawing.js'
import { fittedTo, middleOf, mirrored, moved, placedAnew, standardFace } from './faces.js'
import { faceBox, FURTHEST, LOOKS, looking, seen } from './head.js'

const ICON = 52 // pixels of the small heads on buttons

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

export const row = (name, ...parts) => make('div', { className: `iid-${name}` }, ...parts)

export class Controls {
  words = (key) => key
  choices = make('span', { className: 'iid-choices', role: 'group' })
  #buttons = [] // { key, element, icon, isOn }
  #sliders = [] // { key, label, input, number, get }

  constructor(edit) {
    this.edit = edit
  }

  /** Bring everything up to date with the edit. */
  show() {
    const { edit, words } = this
    for (const { key, element, icon, isOn } of this.#buttons) {
      element.disabled = !isOn()
      if (!icon) element.textContent = words(key)
      Object.assign(element, { ariaLabel: words(key), title: words(`${key}Tip`) })
    }
    this.choices.ariaLabel = words('faces')
    while (this.choices.children.length > edit.faces.length) this.choices.lastChild.remove()
    while (this.choices.children.length < edit.faces.length) this.choices.append(this.#choice())
    for (const [index, button] of [...this.choices.children].entries()) {
      const ariaLabel = words('choose', index)
      Object.assign(button, { ariaPressed: index === edit.selected, ariaLabel, title: ariaLabel })
    }
    for (const { key, label, input, number, get } of this.#sliders) {
      const value = edit.face ? get(edit.face) : 0
      label.textContent = words(key)
      input.title = label.title = words(`${key}Tip`)
      Object.assign(input, { ariaLabel: words(key), disabled: !edit.face, value })
      number.value = edit.face ? Math.round(value) : ''
    }
  }

  #choice() {
    const index = this.choices.children.length
    return make('button', { type: 'button', textContent: index, onclick: () => this.edit.select(index) })
  }

  button(key, onclick, isOn = () => this.edit.face, icon = '') {
    const element = make('button', { type: 'button', onclick }, icon)
    element.dataset.control = key
    this.#buttons.push({ key, element, icon, isOn })
    return element
  }

  /** Which face, add, remove, order; and the way back. */
  faceRow() {
    const { edit } = this
    return row(
      'row',
      this.choices,
      this.button('add', () => edit.add(), () => edit.canAdd, '+'),
      this.button('remove', () => edit.remove(), undefined, '\u2212'),
      this.button('earlier', () => edit.reorder(-1), () => edit.selected > 0, '\u25c2'),
      this.button('later', () => edit.reorder(1), () => edit.selected < edit.faces.length - 1, '\u25b8'),
      row('space'),
      this.button('undo', () => edit.undo(), () => edit.canUndo, '\u21b6'),
      this.button('redo', () => edit.redo(), () => edit.canRedo, '\u21b7')
    )
  }

  /** Where the head looks: one button each, with a small head on it. */
  lookRow() {
    const looks = Object.entries(LOOKS).map(([key, look]) =>
      this.button(key, () => this.edit.changeFace((face) => looking(face, ...look)), undefined, smallHead(look))
    )
    return row('row', ...looks)
  }

  /** What changes the face or the whole edit. */
  editRow(find) {
    const { edit } = this
    const given = () => edit.isLinked && (edit.given[edit.selected] ?? edit.given.at(-1))
    return row(
      'row',
      this.button('mirror', () => edit.changeFace(mirrored)),
      this.button('fit', () => edit.changeFace((face) => fittedTo(face, given())), () => edit.face && given()),
      this.button('reset', () => edit.reset(), () => edit.text),
      this.button('find', find, () => true)
    )
  }

  /** The sliders of the selected face. */
  sliders() {
    const { edit } = this
    const share = (face) => {
      const [, top, , bottom] = faceBox(face)
      return (100 * (bottom - top)) / edit.size.height
    }
    return row(
      'sliders',
      ...this.#slider('yaw', FURTHEST, (face) => seen(face).yaw, (face, value) => looking(face, value, seen(face).pitch)),
      ...this.#slider('pitch', FURTHEST, (face) => seen(face).pitch, (face, value) => looking(face, seen(face).yaw, value)),
      ...this.#slider('tilt', 180, (face) => seen(face).roll, (face, value) => placedAnew(face, 1, value - seen(face).roll)),
      ...this.#slider('size', 150, share, (face, value) => placedAnew(face, value / share(face), 0), 2)
    )
  }

  #slider(key, max, get, set, min = -max) {
    const { edit } = this
    const [label, number] = [make('label'), make('output')]
    const oninput = () => edit.face && edit.tryFace(set(edit.face, Number(input.value)))
    const input = make('input', { type: 'range', min, max, oninput, onchange: () => edit.commit(key) })
    input.dataset.control = key
    this.#sliders.push({ key, label, input, number, get })
    return [label, input, number]
  }
}

/** A canvas with the mean head's five points as it looks that way. */
function smallHead(look) {
  const canvas = make('canvas', { width: ICON, height: ICON })
  const context = canvas.getContext('2d')
  const face = looking(standardFace(ICON, 2.6 * ICON), ...look)
  const [x, y] = middleOf(faceBox(face))
  const points = moved(face, ICON / 2 - x, 0.4 * ICON - y)
  points.forEach((point, index) => {
    Object.assign(context, { strokeStyle: COLOURS[index], lineCap: 'round' })
    for (const [end, lineWidth] of [[points[NOSE], 3], [point, 11]]) {
      context.lineWidth = lineWidth
      context.beginPath()
      context.moveTo(...point)
      context.lineTo(...end)
      context.stroke()
    }
  })
  return canvas
}
