/**
 * What visitors who take nothing make the decoy site hold. One client with a window of 0 and 990 requests on each of 12
 * connections took the endpoint from 92 MB to 1239 MB.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { OPEN_EDGE, startEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { OFFICIAL_HTTP2 } from '../support/http2-options.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'

const REQUESTS = 990
const FILE_BYTES = 40_000
/** Half of what the site may hold. */
const SHARE_BYTES = 16 * 1_048_576

it(
  'the memory of the decoy site is bounded for visitors who take nothing, shared with others, and given to who waits',
  { timeout: 60_000 },
  async () => {
    const root = await mkdtemp(join(tmpdir(), 'culvert-memory-'))
    await writeFile(join(root, 'file.bin'), Buffer.alloc(FILE_BYTES, 'x'))
    {
      await using endpoint = await startEndpoint({
        protocols: ['http1'],
        tables: `${OFFICIAL_HTTP2}${OPEN_EDGE}[culvert.decoy]\nroot = "${root}"\n`,
      })
      const { port } = endpoint
      const still = { port, localAddress: '127.0.0.2', settings: { initialWindowSize: 0 } }
      await using first = await H2Client.open(still)
      await using second = await H2Client.open(still)
      await using third = await H2Client.open(still)
      const ask = (client: H2Client): Promise<number>[] =>
        Array.from({ length: REQUESTS }, async () => {
          const stream = client.session.request({ ':path': '/file.bin' }).on('error', () => {})
          return (await readAll(stream).catch(() => Buffer.alloc(0))).length
        })
      const gone = [...ask(first), ...ask(second)]
      const kept = ask(third)
      const full = await endpoint.waitForStats((stats) => Number(stats['decoy_waiting']) > 900)
      expect(full['decoy_held_bytes']).toBeLessThanOrEqual(SHARE_BYTES)
      expect(full['open_streams']).toBe(3 * REQUESTS)

      await using visitor = await H2Client.open({ port })
      expect(await readAll(visitor.session.request({ ':path': '/file.bin' }))).toHaveLength(FILE_BYTES)

      first.session.destroy()
      second.session.destroy()
      await Promise.all(gone)
      third.session.settings({ initialWindowSize: 65_535 })
      expect(new Set(await Promise.all(kept))).toEqual(new Set([FILE_BYTES]))
      await endpoint.waitForStats((stats) => stats['decoy_held_bytes'] === 0 && stats['decoy_waiting'] === 0)
    }
    await rm(root, { recursive: true })
  },
)

expectNothingLeftOpen()
