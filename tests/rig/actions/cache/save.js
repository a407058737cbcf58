const { cpSync, existsSync, mkdirSync, renameSync } = require('node:fs')
const { join } = require('node:path')
const { paths, folder, own } = require('./store.js')

const key = process.env.STATE_key // the key as it was before the job: what it names may have changed since
const target = join(folder(own), encodeURIComponent(key))
if (process.env.STATE_hit === 'true' || existsSync(target)) {
  console.log(`Cache hit occurred on the primary key ${key}, not saving cache.`)
} else {
  const partial = join(folder(own), '..', `partial-${process.pid}`)
  mkdirSync(folder(own), { recursive: true })
  mkdirSync(partial)
  paths.forEach((path, index) => {
    if (existsSync(path)) cpSync(path, join(partial, String(index)), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  })
  renameSync(partial, target)
  console.log(`Cache saved with key: ${key}`)
}
