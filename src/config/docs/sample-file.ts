/**
 * Generates a complete sample of an official file from its description. `# ` starts an explanation; `#` alone marks a
 * setting that is switched off because it has no default or has no effect here.
 */
import { formatToml, type OfficialFile } from '../official-files.ts'
import type { Field, Fields, ListField, ValueField } from '../schema.ts'

const WIDTH = 100

export function renderSample(file: OfficialFile): string {
  const lines = [
    ...comment(`${file.name} of culvert: every key with its default. ${file.intro}`),
    ...comment('"# " explains; "#" alone stands before a setting that is off. Written by `npm run docs`.'),
    '',
    ...new Sample(file.active).table(file.fields, '', true),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}

class Sample {
  readonly #active: ReadonlySet<string>

  constructor(active: readonly string[]) {
    this.#active = new Set(active)
  }

  /** In TOML the values of a table must come before the tables inside it. */
  table(fields: Fields, path: string, on: boolean): string[] {
    const entries = Object.entries(fields).map(([key, field]) => ({ path: join(path, key), key, field }))
    return [
      ...entries.flatMap(({ key, field, path: here }) => this.#setting(key, field, here, on)),
      ...entries.flatMap(({ field, path: here }) => this.#section(field, here, on)),
    ]
  }

  #setting(key: string, field: Field, path: string, on: boolean): string[] {
    if (field.kind !== 'value' && field.kind !== 'list') return []
    const usual = on && field.status === 'honoured'
    const off = !usual || (!this.#active.has(path) && !isSet(field))
    return [...comment(explain(field)), `${off ? '#' : ''}${key} = ${formatToml(shownValue(field))}`, '']
  }

  #section(field: Field, path: string, on: boolean): string[] {
    if (field.kind !== 'table' && field.kind !== 'tables') return []
    const always = field.kind === 'table' && !field.optional
    const here = on && field.status === 'honoured' && (always || this.#active.has(path))
    const header = field.kind === 'tables' ? `[[${path}]]` : `[${path}]`
    return [
      ...comment(field.doc + noteOf(field)),
      `${here ? '' : '#'}${header}`,
      '',
      ...this.table(field.fields, path, here),
    ]
  }
}

function explain(field: ValueField<unknown> | ListField<unknown>): string {
  const allowed = field.kind === 'list' ? `a list, each ${field.element.allowed}` : field.allowed
  return `${field.doc} Allowed: ${allowed}.${noteOf(field)}`
}

export function noteOf({ status, reloadable }: Field): string {
  if (status === 'honoured') return reloadable ? ' A reload puts it in force.' : ''
  return status === 'later' ? ' Checked, not built yet.' : ' Checked, without effect here.'
}

/** Required keys are set to their example. */
function isSet(field: ValueField<unknown> | ListField<unknown>): boolean {
  return field.default !== null
}

function shownValue(field: ValueField<unknown> | ListField<unknown>): unknown {
  return field.default ?? field.example
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

/** Wrapped into lines that start with "# ". */
function comment(text: string): string[] {
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
