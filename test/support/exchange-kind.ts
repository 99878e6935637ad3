/** Returns an exchange as the kind that a test expects, and fails the test when it is another kind. */
import type { ConnectExchange, Exchange, PlainExchange } from '../../src/contract/exchange.ts'

export function connectOf(exchange: Exchange): ConnectExchange {
  if (exchange.kind === 'connect') return exchange
  throw new Error(`${exchange.method} is no CONNECT`)
}

export function plainOf(exchange: Exchange): PlainExchange {
  if (exchange.kind === 'plain') return exchange
  throw new Error('a CONNECT is no plain request')
}
