import { describe, expect, it } from 'vitest'
import { orderOfRound, parsePlan } from '../../bench/arguments.ts'
import { GOAL_ROWS } from '../../bench/goals.ts'
import { pickRows, ROWS } from '../../bench/plan.ts'

const parse = (...args: string[]) => parsePlan(args, 'ours', GOAL_ROWS)
const peersOf = (...args: string[]) =>
  parse(...args)
    ?.variants.slice(1)
    .map(({ name, command }) => [name, command])

describe('the command line of the bench', () => {
  it('measures every row of our endpoint alone when nothing is asked for', () => {
    expect(parse()).toEqual({
      rows: ROWS,
      runs: 3,
      seconds: 3,
      bytes: undefined,
      variants: [{ name: 'culvert', command: 'ours', isOwn: true }],
      judges: false,
      jsonFile: undefined,
      profileDirectory: undefined,
    })
  })

  it('takes any number of named peers', () => {
    expect(peersOf('--peer', 'before=/old/endpoint -x', '--peer', 'rust=/opt/rust')).toEqual([
      ['before', '/old/endpoint -x'],
      ['rust', '/opt/rust'],
    ])
  })

  it.each([
    ['/opt/endpoint', 'peer', '/opt/endpoint'],
    ['node --opt=1 server.ts', 'peer', 'node --opt=1 server.ts'],
    ["a-1.2=node --opt=1 'x y'", 'a-1.2', "node --opt=1 'x y'"],
  ])('reads the peer %s', (text, name, command) => {
    expect(peersOf('--peer', text)).toEqual([[name, command]])
  })

  it.each([
    [['--peer', 'a=x', '--peer', 'a=y'], 'two endpoints are called a'],
    [['--peer', 'culvert=x'], 'two endpoints are called culvert'],
    [['--peer', 'x', '--peer', 'y'], 'two endpoints are called peer'],
    [['--peer', 'before='], 'has no command'],
    [['--runs', '0'], '--runs takes a number above zero'],
    [['--seconds', 'x'], '--seconds takes a number above zero'],
    [['--only', 'nothing'], 'no row nothing'],
    [['--targets'], '--targets needs --peer before=COMMAND'],
    [['--targets', '--peer', 'rust=x'], '--targets needs --peer before=COMMAND'],
  ])('refuses %j', (args, message) => {
    expect(() => parse(...args)).toThrow(message)
  })

  it('measures what the targets need, or what it is told to', () => {
    expect(
      parse('--targets', '--peer', 'before=x')
        ?.rows.map(({ name }) => name)
        .toSorted(),
    ).toEqual([...GOAL_ROWS].toSorted())
    expect(parse('--targets', '--peer', 'before=x', '--only', 'h2-idle')?.rows).toHaveLength(1)
  })

  it('gives no plan when help is asked for', () => expect(parse('--help')).toBeUndefined())
})

describe('rows', () => {
  const names = (...picked: string[]) => pickRows(picked).map(({ name }) => name)

  it('have different names', () => expect(new Set(names()).size).toBe(ROWS.length))

  it('are found by the beginning of their name up to a hyphen', () => {
    expect(names('h3-up')).toEqual(['h3-up-1', 'h3-up-8'])
  })

  it('are found alone when one has the name itself', () => {
    expect(names('h2-up-1')).toEqual(['h2-up-1'])
    expect(names('h2-up-1-100ms')).toEqual(['h2-up-1-100ms'])
  })

  it('compare by a figure that they have', () => {
    for (const row of ROWS) expect(row.figures[row.compared], row.name).toBeDefined()
  })
})

describe('the order of a round', () => {
  it('gives each endpoint each place in turn', () => {
    const rounds = [0, 1, 2, 3].map((round) => orderOfRound(['a', 'b', 'c'], round).join(''))
    expect(rounds).toEqual(['abc', 'bca', 'cab', 'abc'])
  })

  it('has nothing to turn with a single endpoint', () => expect(orderOfRound(['a'], 5)).toEqual(['a']))
})
