/** A request on a connection that can leave HTTP (RFC 9110 section 7.8): a WebSocket over HTTP/1.1. */
import type { ResponseHeaders, TunnelRequest, TunnelStream } from '../../contract/session.ts'

/** What the transport that knows `Upgrade` adds to its requests. */
export interface UpgradableRequest extends TunnelRequest {
  /** True while `upgrade` may be called. */
  readonly upgradable: boolean
  /** Answers 101 with `headers` (`upgrade` among them; `connection` is the transport's) and hands over the connection. In place of `respond`. */
  upgrade(headers: ResponseHeaders): TunnelStream
}

export function isUpgradable(request: TunnelRequest): request is UpgradableRequest {
  return 'upgrade' in request && typeof request.upgrade === 'function' && 'upgradable' in request
    ? request.upgradable === true
    : false
}
