const { appendFileSync, cpSync, existsSync } = require('node:fs')
const { join } = require('node:path')
const { input, lines, paths, find } = require('./store.js')

const key = input('key')
const found = find(key, false) || lines(input('restore-keys')).map(prefix => find(prefix, true)).find(Boolean)
const hit = found !== undefined && found.key === key
if (found && input('lookup-only') !== 'true') {
  paths.forEach((path, index) => {
    const saved = join(found.file, String(index))
    if (existsSync(saved)) cpSync(saved, path, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  })
}
if (!hit && input('fail-on-cache-miss') === 'true') throw new Error(`no cache for ${key}`)
console.log(found ? `Cache restored from key: ${found.key}` : `Cache not found for key: ${key}`)
const outputs = { 'cache-hit': found ? String(hit) : '', 'cache-primary-key': key, 'cache-matched-key': found?.key ?? '' }
for (const [name, value] of Object.entries(outputs)) appendFileSync(process.env.GITHUB_OUTPUT, `${name}=${value}\n`)
appendFileSync(process.env.GITHUB_STATE, `hit=${hit}\nkey=${key}\n`)
