/**
 * The language that describes the configuration files. One description per key gives the type, the validation,
 * `docs/configuration.md` and the sample files; `read.ts` applies it to a parsed file.
 */

/**
 * What the endpoint does with a key: obeys it, will obey it one day (named in a startup warning), or merely tolerates
 * it.
 */
export type Status = 'honoured' | 'later' | 'ignored'

/** A value as TOML writes it. */
export type Raw = boolean | number | string | readonly Raw[]

/** A key that holds one value. */
export interface ValueField<T> {
  readonly kind: 'value'
  /** For the documentation: "integer", "text", "address:port". */
  readonly type: string
  /** What is allowed, as a sentence fragment for documentation and errors. */
  readonly allowed: string
  readonly doc: string
  readonly status: Status
  /**
   * Whether a reload puts it, and everything inside it if it is a table, into force. Everything else needs a restart.
   */
  readonly reloadable: boolean
  /** As written in a file; null when the key may be absent and then has no value; undefined when it is required. */
  readonly default: Raw | null | undefined
  /** Shown in the sample when there is no default. */
  readonly example: Raw | undefined
  /** Other names of the key that the official files may use. */
  readonly aliases: readonly string[]
  /** Its value must not appear in an error message. */
  readonly secret: boolean
  /** Turns what the TOML parser gave (integers as bigint) into the value; undefined when it is not allowed. */
  readonly parse: (raw: unknown) => T | undefined
  /** The value when the key is absent; undefined when the key is required. */
  readonly fallback: T | undefined
}

/** A key that holds a list of values. */
export interface ListField<T> {
  readonly kind: 'list'
  readonly element: ValueField<T>
  readonly doc: string
  readonly status: Status
  readonly reloadable: boolean
  readonly default: readonly Raw[] | undefined
  readonly example: readonly Raw[] | undefined
  readonly aliases: readonly string[]
}

/** A table. An optional one is null when absent; any other then consists of the defaults of its keys. */
interface TableField<S extends Fields, O extends boolean> {
  readonly kind: 'table'
  readonly fields: S
  readonly optional: O
  readonly doc: string
  readonly status: Status
  readonly reloadable: boolean
  readonly aliases: readonly string[]
}

/** An array of tables (`[[name]]`), empty when absent. */
interface TablesField<S extends Fields> {
  readonly kind: 'tables'
  readonly fields: S
  readonly doc: string
  readonly status: Status
  readonly reloadable: boolean
  readonly aliases: readonly string[]
}

export type Field =
  ValueField<unknown> | ListField<unknown> | TableField<Fields, boolean> | TablesField<Fields>
export interface Fields {
  readonly [key: string]: Field
}

/** The TypeScript value that a field describes. */
export type ValueOf<F> =
  F extends ValueField<infer T>
    ? T
    : F extends ListField<infer T>
      ? readonly T[]
      : F extends TableField<infer S, infer O>
        ? TableOf<S> | (O extends true ? null : never)
        : F extends TablesField<infer S>
          ? readonly TableOf<S>[]
          : never
export type TableOf<S> = { readonly [K in keyof S]: ValueOf<S[K]> }

interface Described {
  readonly doc: string
  /** Default: `honoured`. */
  readonly status?: Status
  /** Default: false. */
  readonly reloadable?: boolean
  readonly aliases?: readonly string[]
}

export interface ValueOptions extends Described {
  /** Leave it out for a required key. */
  readonly default?: Raw | null
  readonly example?: Raw
  readonly secret?: boolean
}

/** `T`, or null where the options say that the key has no default. */
type Defaulted<T, O> = O extends { readonly default: null } ? T | null : T

/** A value of any kind: the builder behind all others. */
export function value<T, const O extends ValueOptions>(
  type: string,
  allowed: string,
  parse: (raw: unknown) => T | undefined,
  options: O,
): ValueField<Defaulted<T, O>> {
  const field: ValueField<T | null> = {
    kind: 'value',
    type,
    allowed,
    ...described(options),
    default: options.default,
    example: options.example,
    secret: options.secret ?? false,
    parse,
    fallback: fallbackOf(parse, options),
  }
  return field as ValueField<Defaulted<T, O>>
}

function fallbackOf<T>(parse: (raw: unknown) => T | undefined, options: ValueOptions): T | null | undefined {
  const raw = options.default
  if (raw === undefined || raw === null) return raw
  const parsed = parse(typeof raw === 'number' ? BigInt(raw) : raw)
  if (parsed === undefined)
    throw new Error(`the default ${JSON.stringify(raw)} is not allowed: ${options.doc}`)
  return parsed
}

export function bool<const O extends ValueOptions & { default?: boolean | null }>(options: O) {
  return value('boolean', 'true or false', (raw) => (typeof raw === 'boolean' ? raw : undefined), options)
}

interface IntOptions extends ValueOptions {
  readonly default?: number | null
  readonly example?: number
  /** Default: 0. */
  readonly min?: number
  /** Default: 4294967295. */
  readonly max?: number
}

const UINT32_MAX = 4_294_967_295

export function int<const O extends IntOptions>(options: O) {
  const min = options.min ?? 0
  const max = options.max ?? UINT32_MAX
  return value('integer', `an integer from ${min} to ${max}`, (raw) => parseInteger(raw, min, max), options)
}

function parseInteger(raw: unknown, min: number, max: number): number | undefined {
  return typeof raw === 'bigint' && raw >= BigInt(min) && raw <= BigInt(max) ? Number(raw) : undefined
}

/** Node's timers fire at once when asked to wait longer than this (2^31 - 1 ms). */
const LONGEST_TIMER_SECS = 2_147_483

/** A duration in whole seconds. Durations longer than a timer can wait (24 days) are cut to that. */
export function seconds<const O extends IntOptions>(options: O) {
  const min = options.min ?? 1
  const parse = (raw: unknown) => {
    const parsed = parseInteger(raw, min, Number.MAX_SAFE_INTEGER)
    return parsed === undefined ? undefined : Math.min(parsed, LONGEST_TIMER_SECS)
  }
  return value('seconds', `an integer of seconds, ${min} or more`, parse, options)
}

/** A size in bytes. */
export function bytes<const O extends IntOptions>(options: O) {
  const min = options.min ?? 0
  const max = options.max ?? Number.MAX_SAFE_INTEGER
  const allowed = options.max === undefined ? `an integer of bytes, ${min} or more` : `${min} to ${max} bytes`
  return value('bytes', allowed, (raw) => parseInteger(raw, min, max), options)
}

interface TextOptions extends ValueOptions {
  readonly default?: string | null
  readonly example?: string
  /** False: empty text is allowed. */
  readonly filled?: boolean
}

export function text<const O extends TextOptions>(options: O) {
  const filled = options.filled ?? true
  return value(
    'text',
    filled ? 'text that is not empty' : 'text',
    (raw) => (typeof raw === 'string' && (raw !== '' || !filled) ? raw : undefined),
    options,
  )
}

export function choice<const C extends string | number, const O extends ValueOptions>(
  choices: readonly C[],
  options: O,
) {
  const allowed = choices.map((each) => (typeof each === 'string' ? `"${each}"` : each)).join(', ')
  const parse = (raw: unknown) =>
    choices.find((each) => each === (typeof raw === 'bigint' ? Number(raw) : raw))
  return value<C, O>('choice', allowed, parse, options)
}

interface ListOptions extends Described {
  /** Leave it out for a required list. */
  readonly default?: readonly Raw[]
  readonly example?: readonly Raw[]
}

export function list<T>(element: ValueField<T>, options: ListOptions): ListField<T> {
  return {
    kind: 'list',
    element,
    ...described(options),
    default: options.default,
    example: options.example,
  }
}

export function table<const S extends Fields>(fields: S, options: Described): TableField<S, false> {
  return { kind: 'table', fields, optional: false, ...described(options) }
}

export function optionalTable<const S extends Fields>(fields: S, options: Described): TableField<S, true> {
  return { kind: 'table', fields, optional: true, ...described(options) }
}

export function tables<const S extends Fields>(fields: S, options: Described): TablesField<S> {
  return { kind: 'tables', fields, ...described(options) }
}

function described({ doc, status = 'honoured', reloadable = false, aliases = [] }: Described) {
  return { doc, status, reloadable, aliases }
}

/** A table as it is when no file mentions it. Throws when one of its keys is required. */
export function defaultsOf<const S extends Fields>({ fields }: TableField<S, boolean>): TableOf<S> {
  const entries = Object.entries(fields).map(([key, field]) => [key, defaultOf(field)])
  return Object.fromEntries(entries) as TableOf<S>
}

function defaultOf(field: Field): unknown {
  if (field.kind === 'table') return field.optional ? null : defaultsOf(field)
  if (field.kind === 'tables') return []
  const given =
    field.kind === 'value' ? field.fallback : field.default?.map((raw) => field.element.parse(raw))
  if (given === undefined) throw new Error(`a required key has no default: ${field.doc}`)
  return given
}
