/** What the probes over HTTP/2 are made of. */
import { END_HEADERS, END_STREAM, frame, headerBlock, PREFACE } from './http2-frames.ts'
import type { Probe } from './probe.ts'

type Send = Probe['send']
export type Field = readonly [string, string]

const SETTINGS = frame('SETTINGS')
const INITIAL_WINDOW_SIZE = 4

export const FIELDS: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'localhost'],
  [':path', '/'],
]
export const GET = headerBlock(FIELDS)

export const http2 = (name: string, ...send: Send): Probe => ({
  name: `http2: ${name}`,
  tls: { ALPNProtocols: ['h2'] },
  send,
  shows: 'frames',
})

/** After preface and SETTINGS. */
export const after = (name: string, ...send: Send): Probe => http2(name, PREFACE, SETTINGS, ...send)

/** In one write with preface and SETTINGS, so that a server has all of it before it can have answered any. */
export const atOnce = (name: string, ...parts: readonly Buffer[]): Probe =>
  http2(name, Buffer.concat([Buffer.from(PREFACE), SETTINGS, ...parts]))

/** A request for `/`, with `value` for the field `name`; without that field when `value` is undefined. */
export const replaced = (name: string, value: string | undefined): Buffer =>
  headerBlock(
    FIELDS.flatMap((field): Field[] => {
      if (field[0] !== name) return [field]
      return value === undefined ? [] : [[name, value]]
    }),
  )

/** A request for `/` with more fields. */
export const withFields = (...fields: readonly Field[]): Buffer => headerBlock([...FIELDS, ...fields])

export const headers = (payload: Buffer, flags = END_HEADERS | END_STREAM, stream = 1): Buffer =>
  frame('HEADERS', { flags, stream, payload })

export const data = (payload: Buffer | string, flags = 0, stream = 1): Buffer =>
  frame('DATA', { flags, stream, payload })

export function settings(...values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(values.length * 6)
  for (const [index, [id, value]] of values.entries()) {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  }
  return frame('SETTINGS', { payload })
}

/** After it no answer's content may leave. */
export const NO_WINDOW = settings([INITIAL_WINDOW_SIZE, 0])
