/** The fields that remain of a request's head while it waits for its refusal or is a tunnel (`ConnectExchange.keepFields`). */
import type { RequestHeaders } from '../contract/exchange.ts'

export function pickFields(headers: RequestHeaders, names: readonly string[]): RequestHeaders {
  const kept = names.map((name) => [name, headers[name]] as const)
  return Object.fromEntries(
    kept.filter((field): field is readonly [string, string] => field[1] !== undefined),
  )
}
