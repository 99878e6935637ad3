/**
 * `npm install` runs this: the sources without their types, in `dist/` (or the directory given), line for line the
 * same. Node can run the sources as they are, but the program that strips them then stays in memory, once per thread:
 * 39 MiB. `scripts/culvert` uses what is written here unless a source is newer.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, resolve } from 'node:path'

const ROOT = dirname(import.meta.dirname)
const SOURCES = join(ROOT, 'src')
const ENTRY = 'main.ts'
/** Specifiers of our own modules. */
const SPECIFIER = /(?<=')(\.{1,2}\/[\w./-]+)\.ts(?=')/g

const target = resolve(process.argv[2] ?? join(ROOT, 'dist'))

function write(file: string): void {
  const source = readFileSync(join(SOURCES, file), 'utf8')
  const path = join(target, file.replace(/\.ts$/, '.js'))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, stripTypeScriptTypes(source).replaceAll(SPECIFIER, '$1.js'))
}

const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
)
rmSync(target, { recursive: true, force: true })
for (const file of files) if (file !== ENTRY) write(file)
// Last: without it, or when it is older than a source, nobody uses the rest.
write(ENTRY)
