// What one editor holds: the text of the input `edit`, what came in, what is shown, the way back.

import { fitted, read, standardFace, write } from './faces.js'

const ONE_STEP_MS = 900 // changes of one kind that follow so soon are undone together

export class Edit {
  text = ''
  faces = [] // as shown, in pixels of `size`
  size = { width: 1024, height: 1024 } // of the node's canvas
  incoming = null // what came in in the last run: { width, height, source, faces, ... }
  isLinked = null // whether keypoints are linked; not known yet
  problem = null // why `text` cannot be read: key of a sentence
  selected = 0
  point = null // of the selected face; null is the whole face
  past = [] // texts to go back to
  future = [] // texts to go forth to
  #state = null // what `text` says
  #last = {} // the last change: { kind, time }

  /** onText: called when the person has changed the text. onView: when anything looks different. */
  constructor(onText, onView) {
    Object.assign(this, { onText, onView })
  }

  get face() {
    return this.faces[this.selected]
  }

  /** Whether other faces came in than those that the edit was made from. */
  get isOutdated() {
    const source = this.incoming?.source
    return Boolean(this.#state && source && source !== this.#state.source)
  }

  /** The faces that came in, on the node's canvas: where nothing is linked, a standard face. */
  get given() {
    if (!this.isLinked) return [standardFace(this.size)]
    return this.incoming ? fitted(this.incoming.faces, this.incoming, this.size) : []
  }

  /** Take a text from outside: of a workflow, a paste, ComfyUI's own undo. */
  load(text) {
    if (text === this.text) return
    Object.assign(this, { past: [], future: [] })
    this.#take(text)
  }

  receive(incoming) {
    this.incoming = incoming
    this.show()
  }

  /** Take what the node looks like now; what came in goes with its link. */
  follow(isLinked, { width, height }) {
    const isSameLink = isLinked === this.isLinked
    if (isSameLink && width === this.size.width && height === this.size.height) return
    const incoming = isSameLink ? this.incoming : null
    Object.assign(this, { isLinked, incoming, size: { width, height } })
    this.show()
  }

  select(face, point = null) {
    this.selected = Math.max(Math.min(face, this.faces.length - 1), 0)
    this.point = point
    this.onView()
  }

  /** Show what is written down. */
  show() {
    const { size, given, problem } = this
    const state = this.#state
    this.faces = state ? fitted(state.faces, state, size) : problem ? [] : given
    this.select(this.selected, this.point)
  }

  /** Show the selected face otherwise, without writing it down yet. */
  tryFace(face) {
    this.faces = this.faces.with(this.selected, face)
    this.onView()
  }

  /** Write down what is shown. kind: changes of one kind in quick succession are one step. */
  commit(kind, { source } = this.#state ?? this.incoming ?? {}) {
    this.#write(write({ ...this.size, source, faces: this.faces }), kind)
  }

  changeFace(change, kind) {
    if (!this.face) return
    this.tryFace(change(this.face))
    this.commit(kind)
  }

  #changeFaces(faces, selected) {
    Object.assign(this, { faces, selected, point: null })
    this.commit()
  }

  add() {
    this.#changeFaces([...this.faces, standardFace(this.size)], this.faces.length)
  }

  remove() {
    if (this.face) this.#changeFaces(this.faces.toSpliced(this.selected, 1), this.selected)
  }

  reorder(by) {
    const place = this.selected + by
    this.#changeFaces(this.faces.toSpliced(this.selected, 1).toSpliced(place, 0, this.face), place)
  }

  /** Hold the faces that came in as the edit. */
  takeGiven() {
    this.faces = this.given
    this.commit('take', this.incoming)
  }

  reset() {
    this.#write('')
  }

  undo(from = this.past, to = this.future) {
    if (!from.length) return
    to.push(this.text)
    this.#last = {}
    this.#take(from.pop())
    this.onText()
  }

  redo() {
    this.undo(this.future, this.past)
  }

  #write(text, kind) {
    if (text === this.text) return this.show()
    const time = performance.now()
    const goesOn = kind && kind === this.#last.kind && time - this.#last.time < ONE_STEP_MS
    this.#last = { kind, time }
    if (!goesOn) this.past.push(this.text)
    this.future = []
    this.#take(text)
    this.onText()
  }

  #take(text) {
    const state = read(text)
    this.text = text
    this.problem = state?.problem ?? null
    this.#state = this.problem ? null : state
    this.show()
  }
}
