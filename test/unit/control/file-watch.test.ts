import { mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FileWatch, markFiles } from '../../../src/control/file-watch.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const PERIOD_MS = 10_000
let directory: string
let clock: FakeClock
let changes: number
let watch: FileWatch

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-watch-'))
  clock = new FakeClock()
  changes = 0
  watch = new FileWatch(clock, () => changes++)
})
afterEach(async () => {
  watch.close()
  expect(clock.pending).toBe(0)
  await rm(directory, { recursive: true })
})

/** Two looks: one that sees, one after it that must not see it again. */
async function look(): Promise<void> {
  clock.advance(PERIOD_MS)
  await vi.waitFor(() => expect(watch.looking).toBe(false), { timeout: 10_000 })
}

describe('FileWatch', () => {
  it('the file watch tells a file that was written anew, once', async () => {
    const path = join(directory, 'cert.pem')
    await writeFile(path, 'old')
    watch.replace([path], await markFiles([path]))
    await look()
    expect(changes).toBe(0)
    await writeFile(path, 'newer')
    await utimes(path, 1, 1)
    await look()
    await look()
    expect(changes).toBe(1)
  })

  it('the file watch follows a link that points elsewhere', async () => {
    const link = join(directory, 'live.pem')
    await writeFile(join(directory, '1.pem'), 'same')
    await writeFile(join(directory, '2.pem'), 'same')
    await symlink('1.pem', link)
    watch.replace([link], await markFiles([link]))
    await symlink('2.pem', `${link}.new`)
    await rename(`${link}.new`, link)
    await look()
    expect(changes).toBe(1)
  })

  it('the file watch tells a file that vanishes and one that comes back', async () => {
    const path = join(directory, 'cert.pem')
    await writeFile(path, 'x')
    watch.replace([path], await markFiles([path]))
    await rm(path)
    await look()
    await writeFile(path, 'x')
    await look()
    expect(changes).toBe(2)
  })

  it('the file watch tells a file that changed after its mark was taken and before it was watched', async () => {
    const path = join(directory, 'cert.pem')
    await writeFile(path, 'old')
    const marks = await markFiles([path])
    await writeFile(path, 'newer')
    watch.replace([path], marks)
    await look()
    await look()
    expect(changes).toBe(1)
  })

  it('the file watch tells a file of which nobody knows how it was when it was read, once', async () => {
    const path = join(directory, 'cert.pem')
    await writeFile(path, 'x')
    watch.replace([path], new Map())
    await look()
    await look()
    expect(changes).toBe(1)
  })
})
