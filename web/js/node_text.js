// What a node of this pack said stays on it when the run is over: newer frontends take it off then.

import { app } from '../../../scripts/app.js'
import { api } from '../../../scripts/api.js'

const WIDGET = '$$node-text-preview' // of the frontend, which shows the texts
const OVER = ['execution_success', 'execution_error', 'execution_interrupted']
const FOLDER = decodeURIComponent(import.meta.url.split('/extensions/')[1].split('/')[0])
const said = new Map() // by execution id, such as '12' or, in a subgraph, '3:12'

/** Return the node of an execution id in the workflow that is open. */
function nodeOf(id) {
  const [first, ...inside] = String(id).split(':')
  return inside.reduce(
    (node, part) => node?.subgraph?.getNodeById(part),
    (app.rootGraph ?? app.graph).getNodeById(first),
  )
}

function remember({ detail: { nodeId, text } }) {
  const node = nodeOf(nodeId)
  const origin = node?.constructor.nodeData?.python_module
  if (origin === `custom_nodes.${FOLDER}`) said.set(nodeId, { node, text })
}

/** Have the frontend show again what it took off nodes that are still there. */
function showAgain() {
  for (const [nodeId, { node, text }] of said) {
    if (nodeOf(nodeId) !== node) said.delete(nodeId) // gone, or of another workflow
    else if (!node.widgets?.some((widget) => widget.name === WIDGET))
      api.dispatchCustomEvent('progress_text', { nodeId, text })
  }
}

app.registerExtension({
  name: 'faithfulinstantid.NodeText',
  setup() {
    api.addEventListener('progress_text', remember)
    for (const event of OVER) api.addEventListener(event, () => setTimeout(showAgain))
  },
})
