// What the editor has to know of ComfyUI's graph: what is linked, and how to find a face in it.

import { app } from '../../../scripts/app.js'
import { api } from '../../../scripts/api.js'

const FIND = 'IID_FaceKeypoints'

const inputIndex = (node, name) => node.inputs?.findIndex((input) => input.name === name) ?? -1
const value = (node, name) => node.widgets?.find((widget) => widget.name === name)?.value

export const isLinked = (node, name) => node.inputs?.[inputIndex(node, name)]?.link != null

/** The node and output linked to an input, or null. */
function origin(node, name) {
  const link = isLinked(node, name) ? node.getInputLink(inputIndex(node, name)) : null
  const from = link && node.graph.getNodeById(link.origin_id)
  return from ? { node: from, slot: link.origin_slot } : null
}

const link = (from, node, name) => from.node.connect(from.slot, node, inputIndex(node, name))

/** The node's canvas; null where a link decides it. */
export function canvasSize(node) {
  const [width, height] = ['width', 'height'].map((side) => !isLinked(node, side) && Number(value(node, side)))
  return width >= 1 && height >= 1 ? { width, height } : null
}

export const fileUrl = ({ filename, subfolder = '', type = 'input' }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)

/** URL of the photo that a Load Image node in front shows, or null. */
export function linkedPhoto(node) {
  const finder = origin(node, 'keypoints')?.node
  const from = origin(node, 'image') ?? (finder?.type === FIND ? origin(finder, 'image') : null)
  const name = from?.node.type === 'LoadImage' && value(from.node, 'image')
  if (typeof name !== 'string' || !name) return null
  const [, subfolder, filename, type] = name.match(/^(?:(.*)\/)?(.*?)(?: \[(input|output|temp)\])?$/)
  return fileUrl({ filename, subfolder, type })
}

/** Ids of the subgraph nodes around a graph, the outermost first. */
function idsAround(graph, root) {
  if (graph === root) return []
  for (const node of root.nodes) {
    const inner = node.subgraph && idsAround(graph, node.subgraph)
    if (inner) return [node.id, ...inner]
  }
  return null
}

/** Run a node and what is in front of it, and nothing else. */
export function runAlone(node) {
  const around = idsAround(node.graph, app.rootGraph ?? app.graph) ?? []
  return app.queuePrompt(0, 1, [[...around, node.id].join(':')])
}

function analyzerFor(node) {
  const slotOf = (other) => other.outputs?.findIndex((output) => output.type === 'FACEANALYSIS') ?? -1
  const found = node.graph.nodes.find((other) => slotOf(other) >= 0)
  return found ? { node: found, slot: slotOf(found) } : null
}

/** Put Face Keypoints in front if nothing is. Returns the key of what is missing for it, or null. */
export function putFinderInFront(node) {
  if (isLinked(node, 'keypoints')) return null
  const [analyzer, photo] = [analyzerFor(node), origin(node, 'image')]
  if (!analyzer || !photo) return analyzer ? 'needsPhoto' : photo ? 'needsAnalyzer' : 'needsBoth'
  const finder = window.LiteGraph.createNode(FIND)
  const x = node.pos[0] - finder.size[0] - 60
  const isThere = ({ pos, size }) => pos[0] < x + finder.size[0] && pos[0] + size[0] > x
  const lower = node.graph.nodes.filter(isThere).map(({ pos, size }) => pos[1] + size[1] + 60)
  node.graph.add(finder)
  finder.pos = [x, Math.max(node.pos[1], ...lower)]
  link(analyzer, finder, 'face_analyzer')
  link(photo, finder, 'image')
  link({ node: finder, slot: 0 }, node, 'keypoints')
  return null
}
