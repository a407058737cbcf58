// Where caches are kept: a folder per scope. As at GitHub, a run reads the caches of its own ref, of its base and of
// the default branch, and writes only those of its own ref, so that a pull request cannot poison the trunk.
const { existsSync, readdirSync, statSync } = require('node:fs')
const { createHash } = require('node:crypto')
const { join, resolve } = require('node:path')

const root = process.env.RIG_CACHE
const branch = name => `refs/heads/${name}`
const own = process.env.GITHUB_REF
const bases = [process.env.GITHUB_BASE_REF, process.env.RIG_DEFAULT_BRANCH].filter(Boolean).map(branch)
const input = name => process.env[`INPUT_${name.toUpperCase()}`] || ''
const lines = text => text.split('\n').map(line => line.trim()).filter(Boolean)
const paths = lines(input('path')).map(path => resolve(path.replace(/^~(?=\/)/, process.env.HOME)))
const version = createHash('sha256').update(lines(input('path')).join('|')).digest('hex').slice(0, 12)

function folder(scope) {
  return join(root, encodeURIComponent(scope), version)
}

// The newest entry whose key is `wanted` or, for a restore key, starts with it.
function find(wanted, prefix) {
  for (const scope of new Set([own, ...bases])) {
    if (!existsSync(folder(scope))) continue
    const found = readdirSync(folder(scope)).map(decodeURIComponent)
      .filter(key => prefix ? key.startsWith(wanted) : key === wanted)
      .map(key => ({ key, file: join(folder(scope), encodeURIComponent(key)) }))
      .sort((one, other) => statSync(other.file).mtimeMs - statSync(one.file).mtimeMs)
    if (found.length) return found[0]
  }
}

module.exports = { input, lines, paths, find, folder, own }
