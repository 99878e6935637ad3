/**
 * Reads what the TOML parser gave according to the description of a file. It never stops at a problem: every wrong
 * value is reported and replaced by its default, so that a single start shows everything that is wrong.
 */
import { nearest, RETIRED_KEYS } from './nearest-key.ts'
import type { ConfigIssue } from './settings.ts'
import type { Field, Fields, ListField, Status, TableOf, ValueField } from './schema.ts'

type RawTable = Readonly<Record<string, unknown>>

/** Stands for a required value that is missing or wrong, so that the walk can go on. */
const MISSING = Symbol('missing')

/** Everything found in the files so far. */
export class Findings {
  readonly problems: ConfigIssue[] = []
  readonly warnings: ConfigIssue[] = []
  /** Keys that are set but not honoured, without list positions. */
  readonly later = new Set<string>()
  readonly ignored = new Set<string>()
  readonly #places = new WeakMap<object, string>()

  problem(file: string, path: string, message: string): void {
    this.problems.push({ file, path, message })
  }

  /** Each warning is given once, however many keys cause it. */
  warn(file: string, path: string, message: string): void {
    const known = this.warnings.some(
      (each) => each.file === file && each.path === path && each.message === message,
    )
    if (!known) this.warnings.push({ file, path, message })
  }

  /** Whether a key of the table at `path` is wrong, so that what it was replaced by means nothing. */
  isWrong(file: string, path: string): boolean {
    return this.problems.some((each) => each.file === file && each.path.startsWith(`${path}.`))
  }

  notePlace(table: object, path: string): void {
    this.#places.set(table, path)
  }

  /** Where a table of a list is in its file: its index there, which wrong tables before it do not change. */
  placeOf(table: object): string {
    return this.#places.get(table) ?? ''
  }

  noteStatus(path: string, status: Status): void {
    if (status === 'honoured') return
    const target = status === 'later' ? this.later : this.ignored
    target.add(path.replaceAll(/\[\d+\]/g, ''))
  }
}

/** Reads a whole file. Undefined when a required top-level key is missing or wrong. */
export function readFields<const S extends Fields>(
  fields: S,
  raw: RawTable,
  file: string,
  findings: Findings,
): TableOf<S> | undefined {
  return new Walk(file, findings).table(fields, raw, '', true)
}

class Walk {
  readonly #file: string
  readonly #findings: Findings

  constructor(file: string, findings: Findings) {
    this.#file = file
    this.#findings = findings
  }

  /** `announce`: whether to note the status of the keys inside; not when a table around them was noted already. */
  table<S extends Fields>(fields: S, raw: RawTable, path: string, announce: boolean): TableOf<S> | undefined {
    this.#warnUnknown(fields, raw, path)
    const result: Record<string, unknown> = {}
    let complete = true
    for (const [key, field] of Object.entries(fields)) {
      const here = path === '' ? key : `${path}.${key}`
      const given = this.#pick(key, field, raw, here)
      if (given !== undefined && announce) this.#findings.noteStatus(here, field.status)
      const value = this.#field(field, given, here, announce && field.status === 'honoured')
      if (value === MISSING) complete = false
      result[key] = value
    }
    return complete ? (result as TableOf<S>) : undefined
  }

  #field(field: Field, given: unknown, path: string, announce: boolean): unknown {
    switch (field.kind) {
      case 'value':
        return this.#value(field, given, path)
      case 'list':
        return this.#list(field, given, path)
      case 'table': {
        if (given === undefined && field.optional) return null
        if (given !== undefined && !isTable(given)) return this.#wrong(path, given, 'a table', null)
        return this.table(field.fields, given ?? {}, path, announce) ?? (field.optional ? null : MISSING)
      }
      case 'tables': {
        if (given === undefined) return []
        if (!Array.isArray(given)) return this.#wrong(path, given, `a list of tables, [[${path}]]`, [])
        return given.flatMap((each: unknown, index) => {
          const here = `${path}[${index}]`
          if (!isTable(each)) return this.#wrong(here, each, 'a table', [])
          const table = this.table(field.fields, each, here, announce)
          if (table === undefined) return []
          this.#findings.notePlace(table, here)
          return table
        })
      }
    }
  }

  #value(field: ValueField<unknown>, given: unknown, path: string): unknown {
    const fallback = field.fallback === undefined ? MISSING : field.fallback
    if (given === undefined) {
      if (fallback === MISSING) this.#problem(path, `is required: ${field.allowed}`)
      return fallback
    }
    const parsed = field.parse(given)
    if (parsed !== undefined) return parsed
    if (!field.secret) return this.#wrong(path, given, field.allowed, fallback)
    this.#problem(path, `the value is not allowed; allowed is ${field.allowed}`)
    return fallback
  }

  #list(field: ListField<unknown>, given: unknown, path: string): unknown {
    if (given === undefined && field.default === undefined) {
      this.#problem(path, `is required: a list, each ${field.element.allowed}`)
      return MISSING
    }
    const items = given ?? field.default
    if (!Array.isArray(items)) return this.#wrong(path, items, `a list, each ${field.element.allowed}`, [])
    return items
      .map((each: unknown, index) => this.#value(field.element, each, `${path}[${index}]`))
      .filter((each) => each !== MISSING)
  }

  /** The value under the key's own name or one of its aliases. */
  #pick(key: string, field: Field, raw: RawTable, path: string): unknown {
    const aliases = field.kind === 'value' || field.kind === 'list' ? field.aliases : []
    const names = [key, ...aliases].filter((name) => Object.hasOwn(raw, name))
    const [first, second] = names
    if (second !== undefined) this.#findings.warn(this.#file, path, `${first} counts, ${second} is ignored`)
    return first === undefined ? undefined : raw[first]
  }

  #warnUnknown(fields: Fields, raw: RawTable, path: string): void {
    const known = new Set(
      Object.entries(fields).flatMap(([key, field]) => [key, ...('aliases' in field ? field.aliases : [])]),
    )
    for (const key of Object.keys(raw)) {
      if (known.has(key)) continue
      const here = path === '' ? key : `${path}.${key}`
      const retired = RETIRED_KEYS[here]
      if (retired !== undefined) {
        this.#findings.warn(this.#file, here, `is not a key any more, ignored: ${retired}`)
        continue
      }
      const near = nearest(key, known)
      const hint = near === undefined ? '' : `; the nearest known key is ${near}`
      this.#findings.warn(this.#file, here, `unknown key, ignored${hint}`)
    }
  }

  #wrong<T>(path: string, given: unknown, allowed: string, instead: T): T {
    this.#problem(path, `${show(given)} is not allowed; allowed is ${allowed}`)
    return instead
  }

  #problem(path: string, message: string): void {
    this.#findings.problem(this.#file, path, message)
  }
}

function isTable(value: unknown): value is RawTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

const LONGEST_SHOWN = 80

/** A value as TOML would write it, cut when long. Of a table only the kind is shown: it might contain a secret. */
function show(value: unknown): string {
  if (isTable(value)) return 'a table'
  if (Array.isArray(value)) return 'a list'
  const text = typeof value === 'string' ? JSON.stringify(value) : showScalar(value)
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text
}

/** Integers arrive as bigint, so a number is a float even when it is whole. */
function showScalar(value: unknown): string {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'number' && Number.isInteger(value) ? value.toFixed(1) : String(value)
}
