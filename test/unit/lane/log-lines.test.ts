/**
 * Log lines on their way from a lane to the control thread. Each used to be a message of its own, which woke that thread
 * and made it write to the log: of a CONNECT over HTTP/1.1 with its handshake, a tenth of the processor time.
 */
import { pino } from 'pino'
import { beforeEach, expect, it } from 'vitest'
import { LogLines } from '../../../src/lane/log-lines.ts'
import { FakeClock } from '../../support/fake-clock.ts'

let clock: FakeClock
let sent: string[]
let lines: LogLines

beforeEach(() => {
  clock = new FakeClock()
  sent = []
  lines = new LogLines(clock, (text) => sent.push(text))
})

const logger = () => pino({ level: 'info', base: null, timestamp: false }, lines)
const line = (level: number, msg: string) => `{"level":${level},"msg":"${msg}"}\n`

it('log lines of a moment are sent together, in their order', () => {
  const log = logger()
  log.info('one')
  log.warn('two')
  clock.advance(49)
  expect(sent).toEqual([])
  clock.advance(1)
  expect(sent).toEqual([line(30, 'one') + line(40, 'two')])
  log.info('three')
  clock.advance(50)
  expect(sent.slice(1)).toEqual([line(30, 'three')])
  expect(clock.pending).toBe(0)
})

it('log lines do not wait behind an error, nor does it', () => {
  const log = logger()
  log.info('before')
  log.error('bad')
  expect(sent).toEqual([line(30, 'before') + line(50, 'bad')])
  log.info('after')
  expect(sent).toHaveLength(1)
  log.child({}).fatal('worse')
  expect(sent.slice(1)).toEqual([line(30, 'after') + line(60, 'worse')])
})

it('log lines beyond 64 KiB do not wait', () => {
  const long = line(30, 'x'.repeat(1000))
  let written = 0
  for (; sent.length === 0; written += long.length) lines.write(long)
  expect(sent).toEqual([long.repeat(written / long.length)])
  expect(written).toBeGreaterThanOrEqual(65_536)
  expect(written).toBeLessThan(65_536 + long.length)
  expect(clock.pending).toBe(0)
})

it('log lines are sent at once when the thread says something else, or ends', () => {
  const log = logger()
  log.info('one')
  lines.flush()
  expect(sent).toEqual([line(30, 'one')])
  lines.flush()
  log.info('two')
  lines.end()
  log.info('three')
  expect(sent.slice(1)).toEqual([line(30, 'two'), line(30, 'three')])
  expect(clock.pending).toBe(0)
})
