// The editor on the node Edit Keypoints: a widget for its input `edit`, in both renderers.

import { app } from '../../../scripts/app.js'
import { Controls, make, row } from './controls.js'
import { Edit } from './edit.js'
import { longerSide, SMALL_FACE } from './faces.js'
import * as graph from './graph.js'
import { faceBox } from './head.js'
import { Picture } from './picture.js'
import { loadWords } from './words.js'

const TYPE = 'IID_EDIT_KEYPOINTS'
const LOOK_AGAIN_MS = 300
const LEAST_HEIGHT = 480 // of the editor
const NEW_NODE = { minWidth: 420, minHeight: 720 }

class Editor {
  edit = new Edit(() => this.#changed(), () => this.#show())
  controls = new Controls(this.edit)
  picture = new Picture(this.edit)
  note = make('span', { role: 'status' })
  #said = null // key of a sentence that stays until the next change
  #photo = make('img', { onload: () => this.look() })

  constructor(node) {
    this.node = node
    const { controls, edit } = this
    this.take = controls.button('take', () => edit.takeGiven(), () => edit.isOutdated)
    this.element = row(
      'editor', controls.faceRow(), this.picture.element, row('note', this.note, this.take),
      controls.lookRow(), controls.sliders(), controls.editRow(() => this.#find())
    )
    this.element.role = 'group'
    // What the editor has no use for is ComfyUI's: the wheel zooms. Delete would delete the node.
    this.element.addEventListener('wheel', (event) => {
      event.preventDefault()
      event.stopPropagation()
      app.canvas.processMouseWheel(event)
    })
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Delete' || event.key === 'Backspace') event.stopPropagation()
    })
    loadWords().then((words) => {
      controls.words = words
      this.element.ariaLabel = words('editor')
      Object.assign(this.picture.pad, { ariaLabel: words('picture'), title: words('pictureTip') })
      this.#show()
    })
  }

  /** The person has changed the edit: one step of ComfyUI's own undo. */
  #changed() {
    this.#said = null
    app.canvas.emitBeforeChange()
    app.canvas.emitAfterChange()
  }

  #show() {
    this.controls.show()
    this.picture.draw()
    this.note.textContent = this.#sentence(this.controls.words)
    this.take.hidden = !this.edit.isOutdated
  }

  /** The one thing that is worth saying now. */
  #sentence(words) {
    const { face, selected, size, problem, isOutdated, text } = this.edit
    if (problem) return `${words(problem)} ${words('offerReset')}`
    if (this.#said) return words(this.#said)
    if (isOutdated) return words('outdated')
    if (!face) return words(text ? 'nobody' : 'nothingYet')
    const [left, top, right, bottom] = faceBox(face)
    if (right < 0 || bottom < 0 || left > size.width || top > size.height) return words('outside', selected)
    const side = longerSide(faceBox(face))
    return words(side < SMALL_FACE ? 'small' : 'face', selected, Math.round(side))
  }

  /** Look at what ComfyUI tells no widget: links, sizes and photos of other nodes. */
  look() {
    if (!this.element.isConnected) return
    const { edit, node, picture } = this
    const { incoming } = edit
    edit.follow(graph.isLinked(node, 'keypoints'), graph.canvasSize(node) ?? incoming ?? edit.size)
    const url = graph.linkedPhoto(node) ?? (incoming?.backdrop ? graph.fileUrl(incoming.backdrop) : '')
    if (url !== this.#photo.getAttribute('src')) this.#photo.src = url
    const backdrop = this.#photo.naturalWidth ? this.#laid(this.#photo) : null
    const looks = (one) => `${one?.image.src} ${one?.scale} ${one?.offset}`
    if (looks(backdrop) !== looks(picture.backdrop)) {
      picture.backdrop = backdrop
      picture.draw()
    }
    picture.keepSharp()
  }

  /** A photo as it lies behind the faces: as the keypoints that came in do, or it fills the canvas. */
  #laid(image) {
    const { naturalWidth, naturalHeight } = image
    const { size, incoming } = this.edit
    const photo = incoming?.photo
    const isSame = Math.abs(photo?.width * naturalHeight - photo?.height * naturalWidth) <= naturalWidth + naturalHeight
    if (isSame && incoming.width === size.width && incoming.height === size.height) {
      return { image, scale: (photo.scale * photo.width) / naturalWidth, offset: photo.offset }
    }
    const scale = Math.max(size.width / naturalWidth, size.height / naturalHeight)
    const offset = [(size.width - naturalWidth * scale) / 2, (size.height - naturalHeight * scale) / 2]
    return { image, scale, offset }
  }

  async #find() {
    this.#said = graph.putFinderInFront(this.node)
    const canRun = !this.#said
    if (canRun) this.#said = 'looking'
    this.#show()
    if (canRun) await graph.runAlone(this.node)
  }

  receive([incoming] = []) {
    if (!incoming) return
    this.#said = null
    this.edit.receive(incoming)
    this.look()
  }
}

/** Call a function after what a node's method does already. */
function after(node, method, act) {
  const before = node[method]
  node[method] = function (...given) {
    before?.apply(this, given)
    act(...given)
  }
}

/** Add the editor to a node as the widget of its input. */
function addEditor(node, name) {
  const editor = new Editor(node)
  const widget = node.addDOMWidget(name, TYPE, editor.element, {
    getValue: () => editor.edit.text,
    setValue: (value) => editor.edit.load(typeof value === 'string' ? value : ''),
    getMinHeight: () => LEAST_HEIGHT,
    hideOnZoom: false
  })
  const timer = setInterval(() => editor.look(), LOOK_AGAIN_MS)
  after(node, 'onExecuted', (output) => editor.receive(output?.edit_keypoints))
  after(node, 'onRemoved', () => {
    clearInterval(timer)
    editor.picture.observer.disconnect()
  })
  return { widget, ...NEW_NODE }
}

const style = new URL('edit_keypoints.css', import.meta.url).href
document.head.append(make('link', { rel: 'stylesheet', href: style }))

app.registerExtension({
  name: 'FaithfulInstantID.EditKeypoints',
  getCustomWidgets: () => ({ [TYPE]: addEditor })
})
