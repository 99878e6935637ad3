/** The command lines: ours (`culvert COMMAND …`) and the reference endpoint's. Turns text into values. */
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { UsageError } from './terminal.ts'

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface ServeCommand {
  readonly kind: 'serve'
  readonly vpn: string
  readonly hosts: string
  readonly level: LogLevel
  readonly logfile: string | undefined
  /** Lanes; undefined means one for each processor. */
  readonly jobs: number | undefined
  /** Options that are accepted but have no effect. */
  readonly warnings: readonly string[]
}

interface GenerateOptions {
  readonly bytes: number
  readonly percent: number
  readonly mask: string | undefined
}

export interface ExportCommand {
  readonly kind: 'export'
  readonly vpn: string
  readonly hosts: string
  readonly username: string
  readonly addresses: readonly string[]
  readonly format: 'toml' | 'deeplink'
  readonly customSni: string | undefined
  readonly clientRandomPrefix: string | undefined
  readonly clientRandomPskKey: string | undefined
  readonly generate: GenerateOptions | undefined
  readonly name: string | undefined
  readonly dnsUpstreams: readonly string[]
  /** Whether the hint about the QR code stands after the link, as the reference endpoint has it, or apart from it. */
  readonly hintAfterLink: boolean
}

export interface TryCommand {
  readonly kind: 'try'
  readonly level: LogLevel
}

export interface ConfigCommand {
  readonly kind: 'config'
  /** One of the official files. */
  readonly file: string
}

export type Command =
  | ServeCommand
  | ExportCommand
  | TryCommand
  | ConfigCommand
  | { readonly kind: 'version'; readonly program: string }
  | { readonly kind: 'help'; readonly program: string }

const COMMON = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const satisfies ParseArgsOptionsConfig

const SERVE = {
  loglvl: { type: 'string', short: 'l' },
  logfile: { type: 'string' },
  jobs: { type: 'string' },
  sentry_dsn: { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

const EXPORT = {
  address: { type: 'string', short: 'a', multiple: true },
  'custom-sni': { type: 'string', short: 's' },
  'client-random-prefix': { type: 'string', short: 'r' },
  'client-random-psk-key': { type: 'string' },
  'generate-client-random-prefix': { type: 'boolean' },
  'prefix-length': { type: 'string' },
  'prefix-percent': { type: 'string' },
  'prefix-mask': { type: 'string' },
  format: { type: 'string', short: 'f' },
  name: { type: 'string', short: 'n' },
  'dns-upstream': { type: 'string', short: 'd', multiple: true },
} as const satisfies ParseArgsOptionsConfig

const LEGACY = {
  ...COMMON,
  ...SERVE,
  ...EXPORT,
  client_config: { type: 'string', short: 'c' },
} as const satisfies ParseArgsOptionsConfig

const MAX_JOBS = 1024

/** The reference endpoint's name: started under it, the program takes the reference's command line. */
export const LEGACY_PROGRAM = 'trusttunnel_endpoint'

/** `argv` without the program itself. @throws UsageError */
export function parseCommand(argv: readonly string[]): Command {
  const [first, ...rest] = argv
  switch (first) {
    case LEGACY_PROGRAM:
      return parseLegacy(rest)
    case 'serve':
      return parseServe(rest)
    case 'export':
      return parseExport(rest)
    case 'try':
      return parseTry(rest)
    case 'config':
      return parseConfig(rest)
    case undefined:
    case 'help':
    case '-h':
    case '--help':
      return { kind: 'help', program: 'culvert' }
    case '-v':
    case '--version':
      return { kind: 'version', program: 'culvert' }
    default:
      throw new UsageError(`unknown command ${JSON.stringify(first)}`)
  }
}

function parseLegacy(args: readonly string[]): Command {
  const { values, positionals } = parse(args, LEGACY)
  const early = helpOrVersion(values, LEGACY_PROGRAM)
  if (early !== undefined) return early
  const files = twoFiles(positionals)
  return values.client_config === undefined
    ? serveCommand(files, values)
    : { ...exportCommand(values.client_config, files, values), hintAfterLink: true }
}

function parseServe(args: readonly string[]): Command {
  const { values, positionals } = parse(args, { ...COMMON, ...SERVE })
  return helpOrVersion(values, 'culvert') ?? serveCommand(twoFiles(positionals), values)
}

function parseExport(args: readonly string[]): Command {
  const { values, positionals } = parse(args, { ...COMMON, ...EXPORT })
  const early = helpOrVersion(values, 'culvert')
  if (early !== undefined) return early
  const [username, ...files] = positionals
  if (username === undefined) throw new UsageError('which user? culvert export USER -a ADDRESS VPN HOSTS')
  return exportCommand(username, twoFiles(files), values)
}

function parseTry(args: readonly string[]): Command {
  const { values, positionals } = parse(args, { ...COMMON, loglvl: SERVE.loglvl })
  if (positionals.length > 0) throw new UsageError('culvert try takes no files')
  return helpOrVersion(values, 'culvert') ?? { kind: 'try', level: parseLevel(values.loglvl ?? 'warn') }
}

function parseConfig(args: readonly string[]): Command {
  const { values, positionals } = parse(args, COMMON)
  if (positionals.length > 1) throw new UsageError('culvert config prints one file at a time')
  return helpOrVersion(values, 'culvert') ?? { kind: 'config', file: positionals[0] ?? 'vpn.toml' }
}

function parse<const T extends ParseArgsOptionsConfig>(args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // For an unknown option Node goes on with how to pass a file of that name.
    throw new UsageError(message.replace(/\. To specify a positional argument .*$/s, ''), { cause: error })
  }
}

function helpOrVersion(values: { help?: boolean; version?: boolean }, program: string): Command | undefined {
  if (values.help === true) return { kind: 'help', program }
  return values.version === true ? { kind: 'version', program } : undefined
}

interface Files {
  readonly vpn: string
  readonly hosts: string
}

function twoFiles(positionals: readonly string[]): Files {
  const [vpn, hosts, extra] = positionals
  if (vpn === undefined || hosts === undefined)
    throw new UsageError('two files are needed: vpn.toml and hosts.toml')
  if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`)
  return { vpn, hosts }
}

interface ServeValues {
  readonly loglvl?: string
  readonly logfile?: string
  readonly jobs?: string
  readonly sentry_dsn?: string
}

function serveCommand(files: Files, values: ServeValues): ServeCommand {
  return {
    kind: 'serve',
    ...files,
    level: parseLevel(values.loglvl ?? 'info'),
    logfile: values.logfile,
    jobs: values.jobs === undefined ? undefined : parseNumber('--jobs', values.jobs, 1, MAX_JOBS),
    warnings: values.sentry_dsn === undefined ? [] : ['--sentry_dsn: nothing is reported anywhere'],
  }
}

interface ExportValues {
  readonly address?: readonly string[]
  readonly 'custom-sni'?: string
  readonly 'client-random-prefix'?: string
  readonly 'client-random-psk-key'?: string
  readonly 'generate-client-random-prefix'?: boolean
  readonly 'prefix-length'?: string
  readonly 'prefix-percent'?: string
  readonly 'prefix-mask'?: string
  readonly format?: string
  readonly name?: string
  readonly 'dns-upstream'?: readonly string[]
}

function exportCommand(username: string, files: Files, values: ExportValues): ExportCommand {
  const format = values.format ?? 'deeplink'
  if (format !== 'toml' && format !== 'deeplink')
    throw new UsageError(`--format is toml or deeplink, not ${JSON.stringify(format)}`)
  const addresses = values.address ?? []
  if (addresses.length === 0) throw new UsageError('at least one --address is needed')
  const generate = values['generate-client-random-prefix'] === true
  if (generate && values['client-random-prefix'] !== undefined)
    throw new UsageError('--client-random-prefix and --generate-client-random-prefix exclude each other')
  return {
    kind: 'export',
    ...files,
    username,
    addresses,
    format,
    customSni: values['custom-sni'],
    clientRandomPrefix: values['client-random-prefix'],
    clientRandomPskKey: values['client-random-psk-key'],
    generate: generate
      ? {
          bytes: parseNumber('--prefix-length', values['prefix-length'] ?? '4', 1, 32),
          percent: parseNumber('--prefix-percent', values['prefix-percent'] ?? '70', 1, 100),
          mask: values['prefix-mask'],
        }
      : undefined,
    name: values.name,
    dnsUpstreams: values['dns-upstream'] ?? [],
    hintAfterLink: false,
  }
}

function parseLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((each) => each === text.toLowerCase())
  if (level === undefined)
    throw new UsageError(`--loglvl is one of ${LOG_LEVELS.join(', ')}, not ${JSON.stringify(text)}`)
  return level
}

function parseNumber(option: string, text: string, min: number, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= min && number <= max))
    throw new UsageError(`${option} is a number from ${min} to ${max}, not ${JSON.stringify(text)}`)
  return number
}
