/** A log that nobody reads costs a bounded amount of memory, and reports afterwards what is missing. */
import { execFileSync } from 'node:child_process'
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { LogOutput } from '../../../../src/cli/log/output.ts'

const KIBIBYTE = 1024
const LINES = 10 * KIBIBYTE

describe('a log file that stops taking lines', () => {
  it('a log file that stops taking lines loses what does not fit into the backlog, tells how much, and goes on', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-log-'))
    const file = join(directory, 'fifo')
    execFileSync('mkfifo', [file])
    // Open for both, so that the writer finds a reader, who reads nothing for now.
    const reader = new Socket({
      fd: openSync(file, constants.O_RDWR | constants.O_NONBLOCK),
      readable: true,
      writable: false,
    })
    const output = new LogOutput({ level: 'info', format: 'json', file, terminal: false })
    for (let index = 0; index < LINES; index++) output.log.info({ pad: 'x'.repeat(KIBIBYTE) }, 'line')
    let taken = 0
    for await (const line of createInterface(reader)) {
      const { msg, lines } = JSON.parse(line) as { msg: string; lines?: number }
      if (msg === 'line') taken++
      if (lines === undefined) continue
      expect(lines).toBeGreaterThan(0)
      // The rest is on its way: eight mebibytes of backlog.
      expect(LINES - lines).toBeLessThan(8 * KIBIBYTE)
      expect(taken).toBeLessThanOrEqual(LINES - lines)
      break
    }
    reader.resume()
    await output.close()
    reader.destroy()
    rmSync(directory, { recursive: true })
  })

  it('a log file on a full disk does not keep the endpoint from ending', async () => {
    const output = new LogOutput({ level: 'info', format: 'json', file: '/dev/full', terminal: false })
    output.log.info('first')
    output.log.info('second')
    await output.close()
  })
})
