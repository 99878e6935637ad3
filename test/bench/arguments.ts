/** The command line of the bench, and the order in which endpoints have their turns. */
import { parseArgs } from 'node:util'
import { pickRows, ROWS, type Row } from './plan.ts'

/** The endpoint that `--targets` compares with. */
export const BEFORE = 'before'
const OWN = 'culvert'
/** Of a peer without a name. */
const PEER = 'peer'

export const HELP = `npm run bench -- [options]
  --runs N             rounds, of which medians are taken (3); in each, every endpoint does every row once
  --seconds N          measured time per run (3)
  --bytes N            transfers are measured over so many bytes instead
  --only NAME,...      rows by name, or by its beginning (h2, h2-down, h2-down-8)
  --peer NAME=COMMAND  the same against another endpoint, which takes "vpn.toml hosts.toml" behind the command; any
                       number of these, one of them without NAME=
  --targets            what this version was to reach, against --peer ${BEFORE}=COMMAND; without --only it measures the
                       rows that this takes
  --json FILE          where the JSON goes (test/bench/results/DATE.json)
  --cpu-prof DIR       writes processor profiles of our endpoint
rows: ${ROWS.map((row) => row.name).join(', ')}
`

/** An endpoint under measurement. */
export interface Variant {
  readonly name: string
  /** Words of a shell command. */
  readonly command: string
  readonly isOwn: boolean
}

export interface Plan {
  readonly rows: readonly Row[]
  readonly runs: number
  readonly seconds: number
  readonly bytes: number | undefined
  /** Ours first. */
  readonly variants: readonly Variant[]
  readonly judges: boolean
  /** Undefined for a name made of the date. */
  readonly jsonFile: string | undefined
  readonly profileDirectory: string | undefined
}

/**
 * `ownCommand` starts ours; `judgedRows` are those that `--targets` needs. Gives undefined when help is asked for. @throws
 * Error with what is wrong.
 */
export function parsePlan(
  args: readonly string[],
  ownCommand: string,
  judgedRows: readonly string[],
): Plan | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      bytes: { type: 'string' },
      only: { type: 'string', default: '' },
      peer: { type: 'string', multiple: true, default: [] },
      targets: { type: 'boolean', default: false },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const variants = [{ name: OWN, command: ownCommand, isOwn: true }, ...parsePeers(values.peer)]
  if (values.targets && !variants.some(({ name }) => name === BEFORE))
    throw new Error(`--targets needs --peer ${BEFORE}=COMMAND`)
  const names = values.only.split(',').filter((name) => name !== '')
  return {
    rows: pickRows(values.targets && names.length === 0 ? judgedRows : names),
    runs: parsePositive('runs', values.runs),
    seconds: parsePositive('seconds', values.seconds),
    bytes: values.bytes === undefined ? undefined : parsePositive('bytes', values.bytes),
    variants,
    judges: values.targets,
    jsonFile: values.json,
    profileDirectory: values['cpu-prof'],
  }
}

/** `NAME=COMMAND` or `COMMAND`; a name is one word without a slash. */
function parsePeers(texts: readonly string[]): readonly Variant[] {
  const peers = texts.map((text): Variant => {
    const [, name, command] = /^([\w.-]+)=(.*)$/s.exec(text) ?? [text, PEER, text]
    if (name === undefined || command === undefined || command.trim() === '')
      throw new Error(`--peer ${text} has no command`)
    return { name, command, isOwn: false }
  })
  const names = [OWN, ...peers.map(({ name }) => name)]
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`two endpoints are called ${twice}`)
  return peers
}

function parsePositive(name: string, text: string): number {
  const number = Number(text)
  if (Number.isFinite(number) && number > 0) return number
  throw new Error(`--${name} takes a number above zero`)
}

/** Each has each place in turn, so that other work on the machine, and what a place brings, affect all equally. */
export function orderOfRound<Item>(items: readonly Item[], round: number): readonly Item[] {
  const first = round % Math.max(1, items.length)
  return [...items.slice(first), ...items.slice(0, first)]
}
