// Runs in ComfyUI's page. Python calls these through devtools/frontend.py.
(() => {
  const stores = () =>
    document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s
  const store = (name) => stores().get(name)

  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds))

  /** Draw a few frames, so that sizes are measured and watchers have run. */
  async function settle(frames = 6) {
    for (let i = 0; i < frames; i++) {
      await new Promise((done) => requestAnimationFrame(done))
    }
  }

  function slot(list, name, node) {
    const found = list.findIndex((entry) => entry.name === name)
    if (found < 0) {
      const names = list.map((entry) => entry.name).join(', ')
      throw new Error(`${node.type} has no slot "${name}"; it has: ${names}`)
    }
    return found
  }

  function setWidget(node, name, value) {
    const widget = node.widgets?.find((entry) => entry.name === name)
    if (!widget) {
      const names = (node.widgets ?? []).map((entry) => entry.name).join(', ')
      throw new Error(`${node.type} has no widget "${name}"; it has: ${names}`)
    }
    widget.value = value
    widget.callback?.(value, window.app.canvas, node)
  }

  function addNode(step) {
    const node = window.LiteGraph.createNode(step.type)
    if (!node) throw new Error(`There is no node ${step.type}`)
    window.app.graph.add(node)
    if (step.title) node.title = step.title
    for (const [name, value] of Object.entries(step.widgets)) setWidget(node, name, value)
    if (step.models.length) node.properties.models = step.models
    if (step.kind === 'note') [node.color, node.bgcolor] = ['#432', '#653']
    return node
  }

  function connect(steps, nodes) {
    for (const step of steps) {
      const node = nodes[step.key]
      for (const [input, [key, output]] of Object.entries(step.links)) {
        const origin = nodes[key]
        const link = origin.connect(slot(origin.outputs, output, origin), node, slot(node.inputs, input, node))
        if (!link) throw new Error(`${origin.type}.${output} does not fit ${node.type}.${input}`)
      }
    }
  }

  /** One column for each group, left to right; inside a column the nodes stand one below the other. */
  function arrange(spec, nodes) {
    const { gap, margin, title, columnGap, packExtra } = spec.layout
    let left = 0
    for (const group of spec.groups) {
      const members = spec.steps.filter((step) => step.group === group.key)
      const widths = members.map((step) => Math.max(nodes[step.key].computeSize()[0], step.size[0]))
      const width = Math.max(...widths)
      let top = 0
      for (const step of members) {
        const node = nodes[step.key]
        const extra = step.type.startsWith('IID_') ? packExtra : 0
        node.setSize([width, Math.max(node.computeSize()[1] + extra + step.room, step.size[1])])
        node.pos = [left, top + title]
        top += title + node.size[1] + gap
      }
      const box = new window.LiteGraph.LGraphGroup(group.title)
      box.color = group.color
      box.pos = [left - margin, -margin - title]
      box.size = [width + 2 * margin, top - gap + 2 * margin + title]
      window.app.graph.add(box)
      left += width + 2 * margin + columnGap
    }
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

  /** Build a workflow from a description on an empty canvas. */
  async function place(spec) {
    await empty()
    const nodes = {}
    for (const step of spec.steps) nodes[step.key] = addNode(step)
    connect(spec.steps, nodes)
    await settle()
    arrange(spec, nodes)
    window.app.graph.id = spec.id
    window.app.graph.setDirtyCanvas(true, true)
    await settle()
    return nodes
  }

  /** Build a workflow from a description and hand back its two forms. */
  async function build(spec) {
    await place(spec)
    return await forms()
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
    const found = []
    const error = store('executionError')
    for (const toast of store('toast')?.messagesToAdd ?? []) {
      if (toast.severity === 'error' || toast.severity === 'warn') {
        found.push(`toast: ${toast.summary ?? ''} ${toast.detail ?? ''}`)
      }
    }
    for (const element of document.querySelectorAll('.p-toast-message-error, .p-toast-message-warn')) {
      found.push(`toast: ${element.innerText}`)
    }
    for (const dialog of store('dialog')?.dialogStack ?? []) found.push(`dialog: ${dialog.key}`)
    for (const node of window.app.graph.nodes) {
      if (node.has_errors) found.push(`node: ${node.id} ${node.type}`)
    }
    const missing = store('missingNodesError')?.missingNodesError ?? error?.missingNodesError
    for (const entry of missing?.nodeTypes ?? []) found.push(`missing node: ${entry.type ?? entry}`)
    for (const entry of store('missingModel')?.missingModelCandidates ?? []) {
      found.push(`missing model: ${entry.name}`)
    }
    for (const entry of store('missingMedia')?.missingMediaCandidates ?? []) {
      found.push(`missing file: ${entry.name}`)
    }
    for (const [id, entry] of Object.entries(error?.lastNodeErrors ?? {})) {
      for (const one of entry.errors) found.push(`node ${id}: ${one.message} ${one.details}`)
    }
    if (error?.lastExecutionError) {
      found.push(`execution: ${error.lastExecutionError.exception_message}`)
    }
    if (error?.lastPromptError) found.push(`prompt: ${error.lastPromptError.message}`)
    return found
  }

  /** Rectangles of all nodes with their titles, in graph units. */
  function boxes() {
    return window.app.graph.nodes.map((node) => {
      const element = document.querySelector(`[data-node-id="${node.id}"]`)
      const scale = window.app.canvas.ds.scale
      if (!element) {
        const [x, y, width, height] = node.boundingRect ?? node.getBounding()
        return { id: node.id, title: node.title, x, y, width, height }
      }
      const box = element.getBoundingClientRect()
      return {
        id: node.id,
        title: node.title,
        x: box.x / scale,
        y: box.y / scale,
        width: box.width / scale,
        height: box.height / scale
      }
    })
  }

  /** Nodes that stand in a group and reach out of it, each with how far, in graph units. */
  function outOfGroups() {
    const { scale, offset } = window.app.canvas.ds
    const frame = window.app.canvas.canvas.getBoundingClientRect()
    const found = []
    for (const box of boxes()) {
      const node = window.app.graph.getNodeById(box.id)
      const drawn = document.querySelector(`[data-node-id="${box.id}"]`)
      const [left, top] = drawn ? [frame.x / scale + offset[0], frame.y / scale + offset[1]] : [0, 0]
      for (const group of window.app.graph.groups) {
        const [x, y, width, height] = group.boundingRect ?? group._bounding
        const [ownX, ownY] = node.pos
        if (ownX < x || ownX > x + width || ownY < y || ownY > y + height) continue
        const right = box.x + box.width - (x + left + width)
        const below = box.y + box.height - (y + top + height)
        if (right > 1 || below > 1) found.push(`${box.title} (${box.id}): ${right} right, ${below} below`)
      }
    }
    return found
  }

  async function fit() {
    await command('Comfy.Canvas.FitView')
    await wait(0.6)
    await settle()
  }

  /** Bounds of everything on the canvas, in page pixels, with a border. */
  function content(border) {
    const items = [...window.app.graph.nodes, ...window.app.graph.groups]
    const rects = items.map((item) => item.boundingRect ?? item._bounding ?? item.getBounding())
    const left = Math.min(...rects.map((rect) => rect[0]))
    const top = Math.min(...rects.map((rect) => rect[1]))
    const right = Math.max(...rects.map((rect) => rect[0] + rect[2]))
    const bottom = Math.max(...rects.map((rect) => rect[1] + rect[3]))
    const { scale, offset } = window.app.canvas.ds
    const frame = window.app.canvas.canvas.getBoundingClientRect()
    return {
      x: Math.max(0, frame.x + (left + offset[0]) * scale - border),
      y: Math.max(0, frame.y + (top + offset[1]) * scale - border),
      width: (right - left) * scale + 2 * border,
      height: (bottom - top) * scale + 2 * border
    }
  }

  /** Hide the interface and fit the graph into the window, or bring the interface back. */
  async function bare(on) {
    window.app.extensionManager.focusMode = on
    await fit()
    return content(12)
  }

  /**
   * Build a workflow, pack its inner nodes into one subgraph and return that as a blueprint file.
   * `shown` lists the widgets to show on the outside: [key of the node, its input, label].
   */
  async function blueprint(spec, name, description, outside, shown) {
    const nodes = await place(spec)
    const inner = spec.steps.filter((step) => !outside.includes(step.key))
    const kept = new Set(inner.map((step) => nodes[step.key]))
    const { subgraph, node } = window.app.graph.convertToSubgraph(kept)
    subgraph.name = node.title = name
    await settle()
    for (const input of [...subgraph.inputs]) {
      const linked = node.inputs.find((entry) => entry.name === input.name)?.link != null
      if (!linked) subgraph.removeInput(input)
    }
    for (const [key, input, label] of shown) {
      const target = subgraph.getNodeById(nodes[key].id)
      const entry = target.inputs[slot(target.inputs, input, target)]
      subgraph.addInput(label, entry.type).connect(entry, target)
    }
    await settle()
    const packed = window.app.canvas._serializeItems([node])
    return JSON.parse(
      JSON.stringify({
        revision: 0,
        last_node_id: node.id,
        last_link_id: 0,
        nodes: packed.nodes,
        links: [],
        version: 0.4,
        definitions: { subgraphs: packed.subgraphs },
        extra: { BlueprintDescription: description }
      })
    )
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
    image.connect(0, node, slot(node.inputs, 'image', node))
    node.connect(0, save, 0)
    await settle()
  }

  async function command(id) {
    await store('command').execute(id)
    await settle()
  }

  window.faithful = {
    store, settle, wait, build, forms, load, empty, complaints, boxes, outOfGroups, fit, bare, blueprint,
    setWidgets, closeDialogs, search, select, command, blueprints, useBlueprint
  }
})()
