// What one editor holds: the value of the node's `edit` input, what came into the node, the faces
// that are shown, which of them is selected, and the way back.

import { fitted, MOST_FACES, read, standardFace, Unreadable, write } from './faces.js'

const ONE_STEP_MS = 900 // changes of one kind that follow each other so soon are undone together

export class Edit {
  text = ''
  faces = [] // as shown, in pixels of `size`
  size = { width: 1024, height: 1024 } // of the node's canvas
  incoming = null // what the node was given in its last run: { width, height, source, faces, ... }
  isLinked = null // whether keypoints are linked to the node; not known yet
  problem = null // key of the sentence that says why `text` cannot be read
  selected = 0
  point = null // the selected point of the selected face; null is the whole face
  #state = null
  #past = []
  #future = []
  #last = { kind: null, time: 0 }

  /** onText is called when the person has changed the text, onView when anything looks different. */
  constructor(onText, onView) {
    Object.assign(this, { onText, onView })
  }

  get face() {
    return this.faces[this.selected] ?? null
  }

  get canUndo() {
    return this.#past.length > 0
  }

  get canRedo() {
    return this.#future.length > 0
  }

  get canAdd() {
    return this.faces.length < MOST_FACES && !this.problem
  }

  /** Whether other faces came in than those that the edit was made from. */
  get isOutdated() {
    const source = this.incoming?.source
    return Boolean(this.#state && source && source !== this.#state.source)
  }

  /** The faces that came in, on the node's canvas: where nothing is linked, a standard face. */
  get given() {
    if (!this.isLinked) return [standardFace(this.size.width, this.size.height)]
    return this.incoming ? fitted(this.incoming.faces, this.incoming, this.size) : []
  }

  /** Take a text from outside: a workflow that opens, a paste, ComfyUI's own undo. */
  load(text) {
    if (text === this.text) return
    this.#past = []
    this.#future = []
    this.#take(text)
  }

  /** Take what the node was given in its last run. */
  receive(incoming) {
    this.incoming = incoming
    this.#show()
  }

  /** Take what the node looks like now; what came in goes with its link. */
  follow(isLinked, { width, height }) {
    const isSame = width === this.size.width && height === this.size.height
    if (isSame && isLinked === this.isLinked) return
    this.size = { width, height }
    if (isLinked !== this.isLinked) this.incoming = null
    this.isLinked = isLinked
    this.#show()
  }

  select(face, point = null) {
    this.selected = Math.min(Math.max(face, 0), Math.max(this.faces.length - 1, 0))
    this.point = point
    this.onView()
  }

  /** Show the selected face otherwise, without writing it down yet. */
  tryFace(face) {
    this.faces = this.faces.with(this.selected, face)
    this.onView()
  }

  /** Show again what is written down. */
  putBack() {
    this.#show()
  }

  /** Write down what is shown. kind: changes of one kind in quick succession are one step. */
  commit(kind = null) {
    const source = this.#state ? this.#state.source : (this.incoming?.source ?? null)
    if (!this.problem) this.#write(write({ ...this.size, source, faces: this.faces }), kind)
  }

  changeFace(change, kind) {
    if (!this.face) return
    this.tryFace(change(this.face))
    this.commit(kind)
  }

  /** Hold other faces, one of them selected. */
  changeFaces(faces, selected) {
    Object.assign(this, { faces, selected, point: null })
    this.commit()
  }

  add() {
    const { width, height } = this.size
    this.changeFaces([...this.faces, standardFace(width, height)], this.faces.length)
  }

  remove() {
    if (this.face) this.changeFaces(this.faces.toSpliced(this.selected, 1), this.selected)
  }

  /** Give the selected face an earlier or later place among the faces. */
  reorder(by) {
    const place = this.selected + by
    this.changeFaces(this.faces.toSpliced(this.selected, 1).toSpliced(place, 0, this.face), place)
  }

  /** Hold the faces that came in as the edit. */
  takeGiven() {
    this.#write(write({ ...this.size, source: this.incoming.source, faces: this.given }))
  }

  /** Take the edit away: what comes in passes through. */
  reset() {
    this.#write('')
  }

  undo() {
    this.#step(this.#past, this.#future)
  }

  redo() {
    this.#step(this.#future, this.#past)
  }

  #step(from, to) {
    if (!from.length) return
    to.push(this.text)
    this.#last.kind = null
    this.#take(from.pop())
    this.onText()
  }

  #write(text, kind = null) {
    if (text === this.text) return this.#show()
    const time = performance.now()
    const goesOn = kind && kind === this.#last.kind && time - this.#last.time < ONE_STEP_MS
    this.#last = { kind, time }
    if (!goesOn) this.#past.push(this.text)
    this.#future = []
    this.#take(text)
    this.onText()
  }

  #take(text) {
    Object.assign(this, { text, problem: null })
    this.#state = null
    try {
      this.#state = read(text)
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      this.problem = error.message
    }
    this.#show()
  }

  #show() {
    const state = this.#state
    this.faces = state ? fitted(state.faces, state, this.size) : this.problem ? [] : this.given
    this.select(this.selected, this.point)
  }
}
