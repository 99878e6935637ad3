/** The one place that chooses how an exchange is forwarded. */
import type { PlainExchange } from '../../contract/exchange.ts'
import { ConnectRequest } from './connect-request.ts'
import type { OriginRequest, RequestOwner } from './origin-request.ts'
import { PlainRequest } from './plain-request.ts'
import { UpgradeRequest, offersUpgrade } from './upgrade-request.ts'

/** What differs from the request as it arrived. */
export interface ForwardOptions {
  /** Fields that the origin gets in addition to the client's. */
  headers?: Readonly<Record<string, string>>
  asConnect?: boolean
}

export function createOriginRequest(
  exchange: PlainExchange,
  owner: RequestOwner,
  { headers, asConnect = false }: ForwardOptions = {},
): OriginRequest {
  if (asConnect) return new ConnectRequest(exchange, owner, headers)
  if (offersUpgrade(exchange)) return new UpgradeRequest(exchange, owner, headers)
  return new PlainRequest(exchange, owner, headers)
}
