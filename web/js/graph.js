// What the editor has to know of ComfyUI's graph: what is linked to the node, which photo that is,
// and how to find a face in it.

import { app } from '../../../scripts/app.js'
import { api } from '../../../scripts/api.js'

const FIND = 'IID_FaceKeypoints'

const inputIndex = (node, name) => node.inputs?.findIndex((input) => input.name === name) ?? -1
const value = (node, name) => node.widgets?.find((widget) => widget.name === name)?.value

export const isLinked = (node, name) => node.inputs?.[inputIndex(node, name)]?.link != null

/** The node and the output that are linked to an input; null without a link. */
function origin(node, name) {
  const link = isLinked(node, name) ? node.getInputLink(inputIndex(node, name)) : null
  const from = link && node.graph.getNodeById(link.origin_id)
  return from ? { node: from, slot: link.origin_slot } : null
}

/** Link an output to an input. */
const link = (from, node, name) => from.node.connect(from.slot, node, inputIndex(node, name))

/** Width and height of the node's canvas; null where a link decides one. */
export function canvasSize(node) {
  const [width, height] = ['width', 'height'].map((side) => !isLinked(node, side) && Number(value(node, side)))
  return width >= 1 && height >= 1 ? { width, height } : null
}

/** Where the server shows a file. */
export const fileUrl = ({ filename, subfolder = '', type = 'input' }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)

/** The photo that a Load Image node in front shows, as a URL; null where there is none. */
export function linkedPhoto(node) {
  const finder = origin(node, 'keypoints')?.node
  const from = origin(node, 'image') ?? (finder?.type === FIND ? origin(finder, 'image') : null)
  const name = from?.node.type === 'LoadImage' && value(from.node, 'image')
  if (typeof name !== 'string' || !name) return null
  const [, subfolder, filename, type] = name.match(/^(?:(.*)\/)?(.*?)(?: \[(input|output|temp)\])?$/)
  return fileUrl({ filename, subfolder, type })
}

/** Ids of the subgraph nodes around a graph, from the outermost to the innermost. */
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

/** The photo to look at: what is linked to `image`, or the graph's only Load Image. */
function photoFor(node) {
  const photos = node.graph.nodes.filter((other) => other.type === 'LoadImage')
  return origin(node, 'image') ?? (photos.length === 1 ? { node: photos[0], slot: 0 } : null)
}

function analyzerFor(node) {
  const slotOf = (other) => other.outputs?.findIndex((output) => output.type === 'FACEANALYSIS') ?? -1
  const found = node.graph.nodes.find((other) => slotOf(other) >= 0)
  return found ? { node: found, slot: slotOf(found) } : null
}

/**
 * Put Face Keypoints in front of the node, if nothing is linked to its keypoints yet. Returns the
 * key of the sentence that says what is missing, or null.
 */
export function putFinderInFront(node) {
  if (isLinked(node, 'keypoints')) return null
  const [analyzer, photo] = [analyzerFor(node), photoFor(node)]
  if (!analyzer || !photo) return analyzer ? 'needsPhoto' : photo ? 'needsAnalyzer' : 'needsBoth'
  const finder = window.LiteGraph.createNode(FIND)
  node.graph.add(finder)
  finder.pos = [node.pos[0] - finder.size[0] - 60, node.pos[1]]
  link(analyzer, finder, 'face_analyzer')
  link(photo, finder, 'image')
  link({ node: finder, slot: 0 }, node, 'keypoints')
  if (!isLinked(node, 'image')) link(photo, node, 'image')
  return null
}
