/**
 * Node's HTTP clients, loaded by the first request for an origin: whoever loads one makes Node load everything that it
 * exports, a WebSocket client included, 4 MiB in each lane. Most endpoints have no origin.
 */
import type http from 'node:http'
import type https from 'node:https'

export function nodeHttp(protocol: 'http:' | 'https:'): typeof http | typeof https {
  return process.getBuiltinModule(protocol === 'https:' ? 'node:https' : 'node:http')
}
