/**
 * h2spec's questions to nginx and to the whole endpoint, which serve the same directory: who asks them must not be able
 * to tell which one answered, so every verdict must be the same, also where it is "failed".
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { askH2spec, h2spec } from '../support/h2spec.ts'
import type { Verdicts } from '../support/h2spec.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'

const CASES = 145
const PATIENCE_MS = 120_000
const absent = [h2spec === undefined ? 'h2spec' : '', hasNginx ? '' : 'nginx'].filter((name) => name !== '')
const note = absent.length > 0 ? ` (skipped: no ${absent.join(', ')} here)` : ''

interface Difference {
  readonly reason: string
  readonly section: string
  readonly titles: readonly string[]
}

const STRICT = "Node's HTTP/2 library is strict where nginx ignores the frame or finds the stream gone."
const LENIENT = "Node's HTTP/2 library ignores what nginx answers with GOAWAY."
const NO_PAGE = "Node's HTTP/2 library resets what nginx answers with a page."
const HEADERS_THAT = 'Sends a HEADERS frame that'
const HEADERS_WITH = 'Sends a HEADERS frame with'
const FIELD = 'pseudo-header field'
const LENGTH = 'the "content-length" header field which does not equal the'

/** Every one of these goes when Node's library goes; then the list is empty. */
const OF_THE_LIBRARY: readonly Difference[] = [
  {
    reason: STRICT,
    section: 'http2/4.2',
    titles: ['DATA', 'HEADERS'].map(
      (type) => `Sends a large size ${type} frame that exceeds the SETTINGS_MAX_FRAME_SIZE`,
    ),
  },
  {
    reason: STRICT,
    section: 'http2/5.1',
    titles: [
      'idle: Sends a DATA frame',
      'idle: Sends a RST_STREAM frame',
      'idle: Sends a WINDOW_UPDATE frame',
      'half closed (remote): Sends a DATA frame',
    ],
  },
  {
    reason: LENIENT,
    section: 'http2/5.1',
    titles: ['closed: Sends a HEADERS frame after sending RST_STREAM frame', 'closed: Sends a HEADERS frame'],
  },
  {
    reason: LENIENT,
    section: 'http2/5.1.1',
    titles: ['Sends stream identifier that is numerically smaller than previous'],
  },
  { reason: LENIENT, section: 'http2/5.3.1', titles: ['Sends PRIORITY frame that depend on itself'] },
  {
    reason: STRICT,
    section: 'http2/6.1',
    titles: ['Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state'],
  },
  { reason: LENIENT, section: 'http2/6.3', titles: ['Sends a PRIORITY frame with 0x0 stream identifier'] },
  { reason: STRICT, section: 'http2/6.4', titles: ['Sends a RST_STREAM frame on a idle stream'] },
  {
    reason: "Node's HTTP/2 library ends the connection after an acknowledgement of no PING; nginx goes on.",
    section: 'http2/6.7',
    titles: ['Sends a PING frame with ACK'],
  },
  {
    reason: NO_PAGE,
    section: 'http2/8.1.2.1',
    titles: [
      `contains a unknown ${FIELD}`,
      `contains the ${FIELD} defined for response`,
      `contains a ${FIELD} that appears in a header block after a regular header field`,
    ].map((rest) => `${HEADERS_THAT} ${rest}`),
  },
  {
    reason: "Node's HTTP/2 library resets what nginx serves.",
    section: 'http2/8.1.2.2',
    titles: [
      `${HEADERS_THAT} contains the connection-specific header field`,
      `${HEADERS_THAT} contains the TE header field with any value other than "trailers"`,
    ],
  },
  {
    reason: NO_PAGE,
    section: 'http2/8.1.2.3',
    titles: [
      `${HEADERS_WITH} empty ":path" ${FIELD}`,
      ...['method', 'scheme', 'path'].flatMap((name) => [
        `${HEADERS_THAT} omits ":${name}" ${FIELD}`,
        `${HEADERS_WITH} duplicated ":${name}" ${FIELD}`,
      ]),
    ],
  },
  {
    reason: "nginx has answered 405 before the content comes; Node's HTTP/2 library resets.",
    section: 'http2/8.1.2.6',
    titles: ['DATA frame', 'sum of the multiple DATA frames'].map(
      (what) => `${HEADERS_WITH} ${LENGTH} ${what} payload length`,
    ),
  },
  {
    reason: STRICT,
    section: 'hpack/4.2',
    titles: ['Sends a dynamic table size update at the end of header block'],
  },
  {
    reason: STRICT,
    section: 'hpack/5.2',
    titles: ['Sends a Huffman-encoded string literal representation with padding longer than 7 bits'],
  },
]

/** Cases whose verdicts differ. */
const DIFFERENCES: readonly Difference[] = OF_THE_LIBRARY
const EXPLAINED = DIFFERENCES.flatMap(({ section, titles }) => titles.map((title) => `${section}: ${title}`))

describe.skipIf(absent.length > 0)(`h2spec${note}`, () => {
  let root: string
  let nginx: Nginx
  let endpoint: TestEndpoint
  let theirs: Verdicts
  let ours: Verdicts

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'culvert-h2spec-'))
    await writeFile(join(root, 'index.html'), '<h1>hello</h1>\n')
    nginx = await startNginx(root)
    endpoint = await startEndpoint({
      keys: 'auth_failure_status_code = 405',
      tables: `[culvert.decoy]\nroot = "${root}"`,
      hosts:
        '[[main_hosts]]\nhostname = "localhost"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n',
    })
    ;[theirs, ours] = await Promise.all([askH2spec(nginx.port), askH2spec(endpoint.port)])
  }, PATIENCE_MS)

  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await nginx[Symbol.asyncDispose]()
    await rm(root, { recursive: true })
  })

  it('h2spec asks all its questions of nginx and of the endpoint', () => {
    expect(theirs.size).toBe(CASES)
    expect([...ours.keys()]).toEqual([...theirs.keys()])
    expect([...theirs.values(), ...ours.values()]).not.toContain('skipped')
  })

  it('h2spec finds only the differences between nginx and the endpoint that are explained', () => {
    const differing = [...theirs.keys()].filter((name) => theirs.get(name) !== ours.get(name))
    if (process.env['CULVERT_SHOW_PROBES'])
      console.log(differing.map((name) => `${name} (nginx ${theirs.get(name)})`).join('\n'))
    expect(differing.toSorted()).toEqual(EXPLAINED.toSorted())
  })
})

expectNothingLeftOpen()
