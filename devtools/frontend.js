// Runs in ComfyUI's page. Python calls these through devtools/frontend.py.
(() => {
  // Graph units. The Vue renderer draws the nodes of packs taller than the classic one, by packExtra;
  // below its widgets a node shows a text once it has run.
  const LAYOUT = { gap: 40, margin: 20, title: 40, columnGap: 40, packExtra: 40, text: 70, row: 24 }

  const store = (name) =>
    document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get(name)

  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds))

  /** Draw a few frames, so that sizes are measured and watchers have run. */
  async function settle(frames = 6) {
    for (let i = 0; i < frames; i++) {
      await new Promise((done) => requestAnimationFrame(done))
    }
  }

  function setWidget(node, name, value) {
    const widget = node.widgets.find((entry) => entry.name === name)
    widget.value = value
    widget.callback?.(value, window.app.canvas, node)
  }

  /** How tall a node must be, in graph units: as saved, with room for what it has got since. */
  function heightOf(node, saved) {
    const needed = node.computeSize()[1]
    if (!node.type.startsWith('IID_')) return Math.max(needed, saved.size[1])
    const { packExtra, text, row } = LAYOUT
    const since = (node.widgets ?? []).slice(saved.widgets_values?.length ?? 0)
    const shown = since.filter((widget) => widget.serialize !== false && !widget.advanced && !widget.hidden)
    return Math.max(needed + packExtra + text, saved.size[1] + row * shown.length)
  }

  /** Number the groups from the left, one column each, in which nodes stand one below the other. */
  function lineUp(saved) {
    const { gap, margin, title, columnGap } = LAYOUT
    const before = Object.fromEntries(saved.nodes.map((node) => [node.id, node]))
    const loose = new Set(window.app.graph.nodes)
    const groups = [...window.app.graph.groups].sort((a, b) => a.pos[0] - b.pos[0])
    const columns = groups.map(({ pos: [x, y], size: [width, height] }) => {
      const inside = ({ pos }) => pos[0] >= x && pos[0] < x + width && pos[1] >= y && pos[1] < y + height
      const members = [...loose].filter(inside).sort((a, b) => a.pos[1] - b.pos[1])
      members.forEach((node) => loose.delete(node))
      return members
    })
    if (loose.size) throw new Error(`not in a group: ${[...loose].map((node) => node.title).join(', ')}`)
    let left = 0
    groups.forEach((group, index) => {
      const members = columns[index]
      // A preview is as wide as its node: it asks for more each time that it is asked.
      const least = (node) => (node.previewMediaType ? 0 : node.computeSize()[0])
      const widths = members.map((node) => Math.max(least(node), before[node.id].size[0]))
      const width = Math.max(...widths)
      let top = 0
      for (const node of members) {
        node.setSize([width, heightOf(node, before[node.id])])
        node.pos = [left, top + title]
        top += title + node.size[1] + gap
      }
      group.title = `${index + 1}. ${group.title.replace(/^\d+\. */, '')}`
      group.pos = [left - margin, -margin - title]
      group.size = [width + 2 * margin, top - gap + 2 * margin + title]
      left += width + 2 * margin + columnGap
    })
  }

  function closeDialogs() {
    const dialogs = store('dialog')
    for (const dialog of [...(dialogs?.dialogStack ?? [])]) dialogs.closeDialog({ key: dialog.key })
  }

  async function empty() {
    closeDialogs()
    await window.app.loadGraphData({ nodes: [], links: [], groups: [], version: 0.4 })
    await settle()
  }

  async function forms() {
    const { workflow, output } = await window.app.graphToPrompt()
    return { workflow: JSON.parse(JSON.stringify(workflow)), api: output }
  }

  async function load(workflow, name) {
    await window.app.loadGraphData(workflow, true, true, name ?? null)
    await settle()
    await wait(0.2)
  }

  /** Everything the frontend complains about, as text. */
  function complaints() {
    const error = store('executionError')
    const toasts = (store('toast')?.messagesToAdd ?? []).filter((toast) => ['error', 'warn'].includes(toast.severity))
    const shown = document.querySelectorAll('.p-toast-message-error, .p-toast-message-warn')
    const missing = store('missingNodesError')?.missingNodesError ?? error?.missingNodesError
    const refused = Object.entries(error?.lastNodeErrors ?? {})
    const found = [
      ...toasts.map(({ summary, detail }) => `toast: ${summary ?? ''} ${detail ?? ''}`),
      ...[...shown].map((element) => `toast: ${element.innerText}`),
      ...(store('dialog')?.dialogStack ?? []).map(({ key }) => `dialog: ${key}`),
      ...window.app.graph.nodes.filter((node) => node.has_errors).map(({ id, type }) => `node: ${id} ${type}`),
      ...(missing?.nodeTypes ?? []).map((entry) => `missing node: ${entry.type ?? entry}`),
      ...(store('missingModel')?.missingModelCandidates ?? []).map(({ name }) => `missing model: ${name}`),
      ...(store('missingMedia')?.missingMediaCandidates ?? []).map(({ name }) => `missing file: ${name}`),
      ...refused.flatMap(([id, { errors }]) => errors.map((one) => `node ${id}: ${one.message} ${one.details}`))
    ]
    const { lastExecutionError: run, lastPromptError: prompt } = error ?? {}
    if (run) found.push(`execution: ${run.exception_message}`)
    if (prompt) found.push(`prompt: ${prompt.message}`)
    return found
  }

  /** Rectangles of all nodes with their titles as they are drawn, in graph units. */
  function boxes() {
    const { scale, offset } = window.app.canvas.ds
    const frame = window.app.canvas.canvas.getBoundingClientRect()
    return window.app.graph.nodes.map((node) => {
      const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect()
      const [x, y, width, height] = drawn
        ? [drawn.x - frame.x, drawn.y - frame.y, drawn.width, drawn.height].map((side) => side / scale)
        : (node.boundingRect ?? node.getBounding())
      const [left, top] = drawn ? [x - offset[0], y - offset[1]] : [x, y]
      return { id: node.id, title: node.title, x: left, y: top, width, height }
    })
  }

  /** Nodes that stand in a group and reach out of it, each with how far, in graph units. */
  function outOfGroups() {
    const found = []
    for (const { id, title, x, y, width, height } of boxes()) {
      const [ownX, ownY] = window.app.graph.getNodeById(id).pos
      for (const group of window.app.graph.groups) {
        const [left, top, wide, high] = group.boundingRect ?? group._bounding
        if (ownX < left || ownX > left + wide || ownY < top || ownY > top + high) continue
        const [right, below] = [x + width - left - wide, y + height - top - high]
        if (right > 1 || below > 1) found.push(`${title} (${id}): ${right} right, ${below} below`)
      }
    }
    return found
  }

  async function fit() {
    await command('Comfy.Canvas.FitView')
    await wait(0.6)
    await settle()
  }

  /** What a blueprint's file holds of the open workflow: its nodes, as they are when copied. */
  function packed() {
    const { nodes, subgraphs } = window.app.canvas._serializeItems(window.app.graph.nodes)
    return JSON.parse(JSON.stringify({ nodes, definitions: { subgraphs } }))
  }

  /** Give every widget of these names its value, where no link decides it. */
  function setWidgets(values) {
    for (const node of window.app.graph.nodes) {
      for (const widget of node.widgets ?? []) {
        const linked = node.inputs?.find((entry) => entry.widget?.name === widget.name)?.link != null
        if (widget.name in values && !linked) setWidget(node, widget.name, values[widget.name])
      }
    }
  }

  /** Ids of the nodes that ComfyUI's node search offers for these words, best first. */
  function search(words) {
    return store('nodeDef').nodeSearchService.searchNode(words).map((node) => node.name)
  }

  /** Put one node on an empty canvas and select it, as a click on it does. */
  async function select(type) {
    store('rightSidePanel')?.closePanel?.()
    await empty()
    const node = window.LiteGraph.createNode(type)
    window.app.graph.add(node)
    node.pos = [100, 100]
    await fit()
    window.app.canvas.deselectAll?.()
    window.app.canvas.selectNode(node)
    window.app.canvas.onSelectionChange?.(window.app.canvas.selected_nodes)
    await settle()
  }

  /** Titles of the blueprints in the node library. */
  function blueprints() {
    const all = store('nodeDef').nodeDefs
    return all.filter((entry) => entry.name.startsWith('SubgraphBlueprint.')).map((entry) => entry.display_name)
  }

  /** Put a blueprint between a photo and Save Image on an empty canvas. */
  async function useBlueprint(file, photo) {
    await load(file)
    const [node] = window.app.graph.nodes
    const [image, save] = ['LoadImage', 'SaveImage'].map((type) => window.LiteGraph.createNode(type))
    for (const one of [image, save]) window.app.graph.add(one)
    node.pos = [450, 0]
    image.pos = [0, 0]
    save.pos = [450 + node.size[0] + 80, 0]
    setWidget(image, 'image', photo)
    image.connect(0, node, node.inputs.findIndex((entry) => entry.name === 'image'))
    node.connect(0, save, 0)
    await settle()
  }

  async function command(id) {
    await store('command').execute(id)
    await settle()
  }

  window.faithful = {
    store, settle, wait, forms, load, lineUp, packed, empty, complaints, boxes, outOfGroups, fit, setWidgets,
    closeDialogs, search, select, command, blueprints, useBlueprint
  }
})()
