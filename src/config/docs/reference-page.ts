/** Generates `docs/configuration.md` from the descriptions of the files. */
import { formatToml, OFFICIAL_FILES, type OfficialFile } from '../official-files.ts'
import { noteOf } from './sample-file.ts'
import type { Field, Fields } from '../schema.ts'

const INTRO = `# Configuration

This page and the files in \`docs/sample\` are written by \`npm run docs\` from the table that also validates the
files. Change \`src/config/*-fields.ts\` instead.

culvert reads the official files of TrustTunnel as they are. Settings that only culvert has are in the tables
\`[culvert.*]\` of \`vpn.toml\`, which other endpoints ignore.

- **Problems** (a value of the wrong type or out of range, a file that cannot be read, settings that contradict each
  other) stop the start with exit code 2. All of them are printed at once, each with its file, key and value, and what
  is allowed.
- **Unknown keys** cause a warning, which names the nearest known key where one is similar.
- **Keys without effect** are checked and named in one warning at the start. Below they are marked "not built yet" or
  "without effect here".
- **Relative paths** start from the working directory. If nothing is there but the file exists next to the file that
  names it, that one is used. A file that exists but cannot be read is a problem; no other takes its place.
- **Durations** are whole seconds; anything above 24 days counts as 24 days. **Sizes** are bytes.
- **Changes**: \`SIGHUP\` reads all files again and puts hosts, certificates, users, rules, and whatever else says so
  below, into force. If anything is wrong, the log says what, and everything stays as it was. The other settings need a
  restart; the log names those that have changed.
- **Quotation marks and outer blanks** in users and passwords: the reference endpoint removes them. culvert accepts both
  spellings and warns.
- **Rules**: the first rule that matches decides. A rules file that cannot be parsed, a rule without an action and a
  condition that cannot be understood are problems; the reference endpoint lets everybody in then. A rule that never
  decides, because an earlier one matches everything that it would, causes a warning.
`

export function renderReferencePage(): string {
  return `${[INTRO, ...OFFICIAL_FILES.map(renderFile)].join('\n').trimEnd()}\n`
}

function renderFile(file: OfficialFile): string {
  const sections = renderTable(file.fields, '')
  return `## ${file.name}\n\n${file.intro} Sample: [\`docs/sample/${file.name}\`](sample/${file.name}).\n\n${sections}`
}

function renderTable(fields: Fields, path: string): string {
  const entries = Object.entries(fields)
  const rows = entries.flatMap(([key, field]) => renderRow(key, field))
  const head = ['| Key | Type | Default | Allowed | Meaning |', '|---|---|---|---|---|']
  const table = rows.length > 0 ? `${[...head, ...rows].join('\n')}\n` : ''
  const sections = entries.flatMap(([key, field]) =>
    renderSection(path === '' ? key : `${path}.${key}`, field),
  )
  return [table, ...sections].filter((part) => part !== '').join('\n')
}

function renderRow(key: string, field: Field): string[] {
  if (field.kind !== 'value' && field.kind !== 'list') return []
  const list = field.kind === 'list'
  const type = list ? `list of ${field.element.type}` : field.type
  const allowed = list ? `each ${field.element.allowed}` : field.allowed
  const standard =
    field.default === undefined
      ? 'required'
      : field.default === null
        ? '–'
        : `\`${formatToml(field.default)}\``
  const aliases = field.aliases.length > 0 ? ` Also \`${field.aliases.join('`, `')}\`.` : ''
  return [
    `| \`${key}\` | ${type} | ${standard} | ${cell(allowed)} | ${cell(field.doc + aliases + noteOf(field))} |`,
  ]
}

function renderSection(path: string, field: Field): string[] {
  if (field.kind !== 'table' && field.kind !== 'tables') return []
  const header = field.kind === 'tables' ? `[[${path}]]` : `[${path}]`
  const presence = field.kind === 'table' && field.optional ? ' Optional.' : ''
  return [`### \`${header}\`\n\n${field.doc}${presence}${noteOf(field)}\n`, renderTable(field.fields, path)]
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`)
}
