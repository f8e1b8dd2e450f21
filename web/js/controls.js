// The buttons and sliders around the picture, each with a label and a tooltip, by keyboard too.

import { drawFaces } from './drawing.js'
import { fittedTo, middleOf, MOST_FACES, mirrored, placedAnew, standardFace } from './faces.js'
import { faceBox, FURTHEST, LOOKS, looking, seen } from './head.js'

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

/** Keep an event from ComfyUI and from the page. */
export function keep(event) {
  event.preventDefault()
  event.stopPropagation()
}

export const row = (name, ...parts) => make('div', { className: `iid-${name}` }, ...parts)

/** Make the controls of an edit; `showControls(words)` brings them up to date. */
export function makeControls(edit, find) {
  const [buttons, ranges] = [[], []]
  const choices = make('span', { className: 'iid-choices', role: 'group' })

  function button(key, onclick, isOn = () => edit.face, icon = '') {
    const element = make('button', { type: 'button', onclick }, icon)
    element.dataset.control = key
    buttons.push({ key, element, icon, isOn })
    return element
  }

  function slider(key, max, get, set, min = -max) {
    const [label, number] = [make('label'), make('span')]
    const oninput = () => edit.face && edit.tryFace(set(edit.face, Number(input.value)))
    const input = make('input', { type: 'range', min, max, oninput, onchange: () => edit.commit(key) })
    input.dataset.control = key
    ranges.push({ key, label, input, number, get })
    return [label, input, number]
  }

  function showControls(words) {
    for (const { key, element, icon, isOn } of buttons) {
      if (!icon) element.textContent = words(key)
      Object.assign(element, { disabled: !isOn(), ariaLabel: words(key), title: words(`${key}Tip`) })
    }
    for (const { key, label, input, number, get } of ranges) {
      const value = edit.face ? get(edit.face) : 0
      label.textContent = words(key)
      number.textContent = edit.face ? Math.round(value) : ''
      const title = words(`${key}Tip`)
      Object.assign(input, { ariaLabel: words(key), title, disabled: !edit.face, value })
    }
    choices.ariaLabel = words('faces')
    while (choices.childElementCount > edit.faces.length) choices.lastChild.remove()
    while (choices.childElementCount < edit.faces.length) choices.append(choice(choices.childElementCount))
    for (const [index, element] of [...choices.children].entries()) {
      const title = words('choose', index)
      Object.assign(element, { ariaPressed: index === edit.selected, ariaLabel: title, title })
    }
  }

  const choice = (index) =>
    make('button', { type: 'button', textContent: index, onclick: () => edit.select(index) })

  const looks = Object.entries(LOOKS).map(([key, look]) =>
    button(key, () => edit.changeFace((face) => looking(face, ...look)), undefined, smallHead(look))
  )
  const given = () => edit.isLinked && (edit.given[edit.selected] ?? edit.given.at(-1))
  const share = (face) => (100 * (faceBox(face)[3] - faceBox(face)[1])) / edit.size.height
  const [yaw, pitch, roll] = ['yaw', 'pitch', 'roll'].map((angle) => (face) => seen(face)[angle])

  return {
    showControls,
    take: button('take', () => edit.takeGiven(), () => edit.isOutdated),
    faceRow: row(
      'row',
      choices,
      button('add', () => edit.add(), () => edit.faces.length < MOST_FACES && !edit.problem, '+'),
      button('remove', () => edit.remove(), undefined, '\u2212'),
      button('earlier', () => edit.reorder(-1), () => edit.selected > 0, '\u25c2'),
      button('later', () => edit.reorder(1), () => edit.selected < edit.faces.length - 1, '\u25b8'),
      row('space'),
      button('undo', () => edit.undo(), () => edit.past.length, '\u21b6'),
      button('redo', () => edit.redo(), () => edit.future.length, '\u21b7')
    ),
    lookRow: row('row', ...looks),
    sliders: row(
      'sliders',
      ...slider('yaw', FURTHEST, yaw, (face, value) => looking(face, value, pitch(face))),
      ...slider('pitch', FURTHEST, pitch, (face, value) => looking(face, yaw(face), value)),
      ...slider('tilt', 180, roll, (face, value) => placedAnew(face, 1, value - roll(face))),
      ...slider('size', 150, share, (face, value) => placedAnew(face, value / share(face), 0), 2)
    ),
    editRow: row(
      'row',
      button('mirror', () => edit.changeFace(mirrored)),
      button('fit', () => edit.changeFace((face) => fittedTo(face, given())), () => edit.face && given()),
      button('reset', () => edit.reset(), () => edit.text),
      button('find', find, () => true)
    )
  }
}

/** A small canvas with the mean head as it looks that way. */
function smallHead(look) {
  const canvas = make('canvas', { width: 52, height: 52 })
  const context = canvas.getContext('2d')
  context.scale(0.4, 0.4)
  const face = looking(standardFace({ width: 130, height: 360 }), ...look)
  drawFaces(context, [placedAnew(face, 1, 0, middleOf(faceBox(face)), [65, 52])], 1024, 1024)
  return canvas
}
