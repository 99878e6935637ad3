/** Header blocks that a stranger may send over HTTP/2, most of them wrong. Only the data; `probe.ts` sends it. */
import { END_HEADERS, headerBlock } from './http2-frames.ts'
import { after, atOnce, FIELDS, GET, headers, replaced, withFields } from './http2-probe.ts'
import type { Field } from './http2-probe.ts'
import type { Probe } from './probe.ts'

const PSEUDO_AND_HOST: Probe[] = [
  after('host unlike authority', headers(Buffer.concat([GET, headerBlock([['host', 'other']])]))),
  after(
    '140 fields',
    headers(Buffer.concat([GET, headerBlock(Array.from({ length: 140 }, (_, index) => [`h${index}`, 'v']))])),
  ),
  after('upper-case field', headers(Buffer.concat([GET, headerBlock([['X-Upper', '1']])]))),
  after('connection field', headers(Buffer.concat([GET, headerBlock([['connection', 'close']])]))),
  after('no path', headers(headerBlock(FIELDS.slice(0, 3)))),
  after('path without slash', headers(replaced(':path', 'x'))),
  after('method in lower case', headers(replaced(':method', 'get'))),
  after('method FOO', headers(replaced(':method', 'FOO'))),
  after('scheme http', headers(replaced(':scheme', 'http'))),
  after(
    'CONNECT without credentials',
    headers(
      headerBlock([
        [':method', 'CONNECT'],
        [':authority', 'a.example:443'],
      ]),
    ),
  ),
  after('POST that goes on', headers(replaced(':method', 'POST'), END_HEADERS)),
  ...[':method', ':scheme', ':authority'].map((name) =>
    atOnce(`no ${name}`, headers(replaced(name, undefined))),
  ),
  ...FIELDS.map((field) => atOnce(`${field[0]} twice`, headers(withFields(field)))),
  // Last in its block: nginx 1.22 mistakes a field that comes after an empty one it has refused.
  ...FIELDS.map(([name]) =>
    atOnce(
      `empty ${name}`,
      headers(headerBlock([...FIELDS.filter((field) => field[0] !== name), [name, '']])),
    ),
  ),
  atOnce('unknown pseudo-field', headers(withFields([':foo', 'x']))),
  atOnce('pseudo-field of an answer', headers(withFields([':status', '200']))),
  atOnce('pseudo-field with its colon alone', headers(withFields([':', 'x']))),
  atOnce('pseudo-fields last', headers(Buffer.concat([headerBlock([['accept', '*/*']]), GET]))),
  atOnce(
    'host instead of authority',
    headers(Buffer.concat([replaced(':authority', undefined), headerBlock([['host', 'localhost']])])),
  ),
  atOnce('host like authority', headers(withFields(['host', 'localhost']))),
  ...['a/b', 'a b', 'a..b', '.', 'localhost.', 'LOCALHOST', 'localhost:x', '[::1]', 'a@b', ':443'].map(
    (authority) => atOnce(`authority ${authority}`, headers(replaced(':authority', authority))),
  ),
  ...(
    [
      ['of a star', '*'],
      ['with scheme and host', 'http://localhost/'],
      ['with a space', '/a b'],
      ['with an escaped NUL', '/%00'],
      ['that climbs', '/../x'],
      ['beyond ASCII', '/\u00e9'],
      ['with a fragment', '/#x'],
      ['with a control character', '/\u0001'],
      ['of two slashes', '//'],
      ['of a directory', '/dir'],
    ] as const
  ).map(([what, path]) => atOnce(`path ${what}`, headers(replaced(':path', path)))),
  ...['PUT', 'TRACE', 'M1', 'OPTIONS', 'CONNECT'].map((method) =>
    atOnce(`method ${method}`, headers(replaced(':method', method))),
  ),
  ...['1x', 'a+b'].map((scheme) => atOnce(`scheme ${scheme}`, headers(replaced(':scheme', scheme)))),
]

const more = (name: string, ...fields: readonly Field[]): Probe =>
  atOnce(name, headers(withFields(...fields)))

const FIELD_BY_FIELD: Probe[] = [
  ...(
    [
      ['name with a space', 'a b', '1'],
      ['name with a colon', 'a:b', '1'],
      ['name with a low line', 'a_b', '1'],
      ['name with an at sign', 'a@b', '1'],
      ['name with DEL', 'a\u007f', '1'],
      ['name beyond ASCII', '\u00e9', '1'],
      ['name of no bytes', '', '1'],
      ['value with LF', 'a', 'x\ny'],
      ['value with CR', 'a', 'x\ry'],
      ['value with NUL', 'a', 'x\0y'],
      ['value with another control character', 'a', 'x\u0001y'],
      ['value between spaces', 'a', ' x '],
    ] as const
  ).map(([what, ...field]) => more(what, field)),
  ...(
    [
      ['connection', 'keep-alive'],
      ['keep-alive', '5'],
      ['proxy-connection', 'x'],
      ['upgrade', 'h2c'],
      ['transfer-encoding', 'chunked'],
      ['transfer-encoding', 'gzip'],
      ['te', 'trailers'],
      ['te', 'gzip'],
      ['http2-settings', 'x'],
      ['content-length', '0'],
      ['content-length', '5'],
      ['content-length', 'x'],
      ['expect', '100-continue'],
      ['expect', 'foo'],
    ] as const
  ).map((field) => more(`field ${field.join(': ')}`, field)),
  more('two content-lengths', ['content-length', '0'], ['content-length', '0']),
  more('length and chunks', ['content-length', '5'], ['transfer-encoding', 'chunked']),
  more('user-agent twice', ['user-agent', 'a'], ['user-agent', 'a']),
  atOnce(
    'POST that expects',
    headers(
      headerBlock([
        [':method', 'POST'],
        ...FIELDS.slice(1),
        ['content-length', '5'],
        ['expect', '100-continue'],
      ]),
      END_HEADERS,
    ),
  ),
  atOnce(
    'POST of too many bytes',
    headers(
      headerBlock([[':method', 'POST'], ...FIELDS.slice(1), ['content-length', '2000000']]),
      END_HEADERS,
    ),
  ),
  atOnce('path of 8192 bytes', headers(replaced(':path', `/${'a'.repeat(8191)}`))),
  atOnce('path of 8193 bytes', headers(replaced(':path', `/${'a'.repeat(8192)}`))),
  more('field of 8193 bytes', ['x', 'a'.repeat(8193)]),
  more('40000 bytes of fields', ...Array.from({ length: 5 }, (): Field => ['x', 'a'.repeat(8000)])),
]

/** Appended to the block of a good request (RFC 7541). */
const appended = (name: string, ...bytes: readonly number[]): Probe =>
  atOnce(name, headers(Buffer.concat([GET, Buffer.from(bytes)])))
const [A, B] = [0x61, 0x62]

const COMPRESSION: Probe[] = [
  appended('index 0', 0x80),
  appended('index beyond the table', 0xbe),
  appended('name beyond the table', 0x7e, 1, A),
  appended('table of 4096 bytes at the end', 0x3f, 0xe1, 0x1f),
  appended('table of 4097 bytes', 0x3f, 0xe2, 0x1f),
  appended('integer of 6 bytes', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
  appended('integer cut off', 0xff, 0x80),
  appended('string cut off', 0, 1, A, 5, A, B),
  appended('field that is never indexed', 0x10, 1, A, 1, B),
  appended('Huffman end of string', 0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, A),
  appended('Huffman padding of zeros', 0, 0x81, 0x18, 1, A),
  appended('Huffman padding of 11 bits', 0, 0x82, 0x1f, 0xff, 1, A),
  appended('table update within a block', 0x20, 0, 1, A, 1, B),
  atOnce('block of a table update alone', headers(Buffer.from([0x20]))),
]

export const HTTP2_FIELD_PROBES: readonly Probe[] = [...PSEUDO_AND_HOST, ...FIELD_BY_FIELD, ...COMPRESSION]
