import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatLine } from '../../../../src/cli/log/format.ts'
import { LogOutput } from '../../../../src/cli/log/output.ts'

const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 6)
const line = (fields: Record<string, unknown>) => `${JSON.stringify({ level: 30, time: TIME, ...fields })}\n`

describe('a log line for people', () => {
  it('a log line for people has time, level, message and fields', () => {
    expect(formatLine(line({ msg: 'listening', port: 443, user: 'a b', ok: true }), false)).toBe(
      '03:04:05.006 info  listening port=443 user="a b" ok=true\n',
    )
  })

  it('a log line for people has the stack of an error', () => {
    const err = { message: 'no', stack: 'Error: no\n    at here' }
    expect(formatLine(line({ level: 50, msg: 'bad', err }), false)).toBe(
      '03:04:05.006 error bad\n  Error: no\n      at here\n',
    )
  })

  it('a log line for people does not let a stranger steer the terminal', () => {
    const evil = '\u001b]0;x\u0007\n\u009b'
    const shown = formatLine(line({ msg: evil, target: evil, err: { message: evil } }), false)
    expect(shown.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
    expect(shown.split('\n')).toHaveLength(4)
  })

  it('a log line for people leaves alone what is not JSON, and colours only when asked', () => {
    expect(formatLine('panic\n', false)).toBe('panic\n')
    expect(formatLine(line({ msg: 'x' }), true)).toContain('\u001b[32minfo')
  })
})

describe('a log file', () => {
  it('a log file takes lines, goes on in a new file after reopening, and is private', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-log-'))
    const file = join(directory, 'log')
    try {
      const output = new LogOutput({ level: 'info', format: 'auto', file, terminal: true })
      output.log.info('one')
      output.log.debug('hidden')
      output.write('{"msg":"from a lane"}\n')
      await output.close()
      const lines = readFileSync(file, 'utf8').trim().split('\n')
      expect(lines.map((each) => (JSON.parse(each) as { msg: string }).msg)).toEqual(['one', 'from a lane'])
      expect(statSync(file).mode & 0o007).toBe(0)

      const again = new LogOutput({ level: 'info', format: 'pretty', file, terminal: false })
      again.log.info('two')
      renameSync(file, `${file}.1`)
      again.reopen()
      again.log.info('three')
      await again.close()
      expect(readFileSync(`${file}.1`, 'utf8') + readFileSync(file, 'utf8')).toMatch(
        /one[^]*two\n[^]*three\n$/,
      )
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it('a log file that cannot be opened is an error at once', () => {
    expect(
      () => new LogOutput({ level: 'info', format: 'auto', file: '/nowhere/log', terminal: false }),
    ).toThrow('ENOENT')
  })
})
