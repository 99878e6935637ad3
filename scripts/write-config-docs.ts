/** Writes docs/configuration.md and docs/sample from the description of the configuration. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { OFFICIAL_FILES } from '../src/config/official-files.ts'
import { renderReferencePage } from '../src/config/docs/reference-page.ts'
import { renderSample } from '../src/config/docs/sample-file.ts'

const docs = new URL('../docs/', import.meta.url)
mkdirSync(new URL('sample/', docs), { recursive: true })
writeFileSync(new URL('configuration.md', docs), renderReferencePage())
for (const file of OFFICIAL_FILES) writeFileSync(new URL(`sample/${file.name}`, docs), renderSample(file))
