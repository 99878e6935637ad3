/** The kind of exchange that a test has asked for; another one fails it. */
import type { ConnectExchange, Exchange, PlainExchange } from '../../src/contract/exchange.ts'

export function connectOf(exchange: Exchange): ConnectExchange {
  if (exchange.kind === 'connect') return exchange
  throw new Error(`${exchange.method} is no CONNECT`)
}

export function plainOf(exchange: Exchange): PlainExchange {
  if (exchange.kind === 'plain') return exchange
  throw new Error('a CONNECT is no plain request')
}
