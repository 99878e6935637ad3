/** The fields that remain of a request's head while it waits for its refusal or is a tunnel (`ConnectExchange.keepFields`). */
import type { RequestHeaders } from '../contract/exchange.ts'

const NONE: RequestHeaders = Object.freeze({})

export function pickFields(headers: RequestHeaders, names: readonly string[]): RequestHeaders {
  if (names.length === 0) return NONE
  const kept = names.map((name) => [name, headers[name]] as const)
  return Object.fromEntries(
    kept.filter((field): field is readonly [string, string] => field[1] !== undefined),
  )
}
