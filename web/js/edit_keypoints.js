// The editor on the node Edit Keypoints: a widget for its input `edit`, in both renderers.

import { app } from '../../../scripts/app.js'
import { keep, make, makeControls, row } from './controls.js'
import { Edit } from './edit.js'
import { longerSide, SMALL_FACE } from './faces.js'
import { canvasSize, fileUrl, isLinked, linkedPhoto, putFinderInFront, runAlone } from './graph.js'
import { faceBox } from './head.js'
import { makePicture } from './picture.js'
import { loadWords } from './words.js'

const TYPE = 'IID_EDIT_KEYPOINTS'
const STYLE = new URL('edit_keypoints.css', import.meta.url).href
const LOOK_AGAIN_MS = 300
const LEAST_HEIGHT = 480
const NEW_NODE = { minWidth: 420, minHeight: 720 }

function makeEditor(node) {
  const edit = new Edit(changed, show)
  const { faceRow, lookRow, sliders, editRow, take, showControls } = makeControls(edit, find)
  const picture = makePicture(edit)
  const note = make('span', { role: 'status' })
  const style = make('link', { rel: 'stylesheet', href: STYLE })
  const element = row('editor', style, faceRow, picture.element, row('note', note, take), lookRow, sliders, editRow)
  const photo = make('img', { onload: look })
  let words = (key) => key
  let said = null // key of a sentence that stays until the next change
  let drawn = '' // with what the picture was

  loadWords().then((loaded) => {
    words = loaded
    Object.assign(element, { role: 'group', ariaLabel: words('editor') })
    Object.assign(picture.pad, { ariaLabel: words('picture'), title: words('pictureTip') })
    show()
  })

  // What the editor has no use for is ComfyUI's: the wheel zooms. Delete would delete the node.
  element.onwheel = (event) => {
    keep(event)
    app.canvas.processMouseWheel(event)
  }
  element.onkeydown = (event) => {
    if (/^(Delete|Backspace)$/.test(event.key)) event.stopPropagation()
  }

  /** The person has changed the edit: a step of ComfyUI's own undo. */
  function changed() {
    said = null
    app.canvas.emitBeforeChange()
    app.canvas.emitAfterChange()
  }

  function show() {
    showControls(words)
    picture.draw()
    note.textContent = sentence()
  }

  /** The one thing worth saying now. */
  function sentence() {
    const { face, selected, size, problem, isOutdated, text } = edit
    if (problem) return `${words(problem)} ${words('offerReset')}`
    if (said) return words(said)
    if (isOutdated) return words('outdated')
    if (!face) return words(text ? 'nobody' : 'nothingYet')
    const [left, top, right, bottom] = faceBox(face)
    if (right < 0 || bottom < 0 || left > size.width || top > size.height) return words('outside', selected)
    const side = longerSide(faceBox(face))
    return words(side < SMALL_FACE ? 'small' : 'face', selected, Math.round(side))
  }

  /** Look at what ComfyUI tells no widget: links, sizes and photos of other nodes. */
  function look() {
    edit.follow(isLinked(node, 'keypoints'), canvasSize(node) ?? edit.incoming ?? edit.size)
    const last = edit.incoming?.backdrop
    const url = linkedPhoto(node) ?? (last ? fileUrl(last) : '')
    if (url !== photo.getAttribute('src')) photo.src = url
    const backdrop = photo.complete && photo.naturalWidth ? laid() : null
    const now = [url, backdrop?.scale, backdrop?.offset, picture.zoom().toFixed(1)].join()
    if (now !== drawn) picture.draw(backdrop)
    drawn = now
  }

  /** The photo behind the faces: where the keypoints that came in have it, else it fills. */
  function laid() {
    const { size, incoming } = edit
    const [width, height] = [photo.naturalWidth, photo.naturalHeight]
    const from = incoming?.width === size.width && incoming.height === size.height && incoming.photo
    if (Math.abs((from.width * height) / (from.height * width) - 1) < 0.01) {
      return { image: photo, scale: (from.scale * from.width) / width, offset: from.offset }
    }
    const scale = Math.max(size.width / width, size.height / height)
    const offset = [(size.width - width * scale) / 2, (size.height - height * scale) / 2]
    return { image: photo, scale, offset }
  }

  function find() {
    const missing = putFinderInFront(node)
    said = missing ?? 'looking'
    show()
    if (!missing) runAlone(node)
  }

  function receive([incoming] = []) {
    if (!incoming) return
    said = null
    look() // before: a new link forgets what came in
    edit.receive(incoming)
  }

  return { edit, element, look, receive, close: () => picture.observer.disconnect() }
}

/** Call a function after what a node's method does already. */
function after(node, method, act) {
  const before = node[method]
  node[method] = (...given) => {
    before?.apply(node, given)
    act(...given)
  }
}

/** Add the editor to a node as the widget of its input. */
function addEditor(node, name) {
  const { edit, element, look, receive, close } = makeEditor(node)
  const widget = node.addDOMWidget(name, TYPE, element, {
    getValue: () => edit.text,
    setValue: (value) => edit.load(typeof value === 'string' ? value : ''),
    getMinHeight: () => LEAST_HEIGHT,
    hideOnZoom: false
  })
  const timer = setInterval(look, LOOK_AGAIN_MS)
  after(node, 'onExecuted', (output) => receive(output?.edit_keypoints))
  after(node, 'onRemoved', () => {
    clearInterval(timer)
    close()
  })
  return { widget, ...NEW_NODE }
}

app.registerExtension({
  name: 'faithfulinstantid.EditKeypoints',
  getCustomWidgets: () => ({ [TYPE]: addEditor })
})
