// The words of the editor: locales/<language>/main.json, which ComfyUI's server sends.

import { app } from '../../../scripts/app.js'
import { api } from '../../../scripts/api.js'

const KEY = 'instantidEditor'
let loading = null

/** Return the function that gives the words of a key, `$1` and `$2` filled in. */
export function loadWords() {
  loading ??= api.getCustomNodesI18n()
  return loading.then((all) => {
    const own = all[app.extensionManager?.setting?.get('Comfy.Locale')]?.[KEY]
    const words = { ...all.en?.[KEY], ...own }
    return (key, ...parts) =>
      (words[key] ?? key).replace(/\$(\d)/g, (_, number) => parts[number - 1])
  })
}
