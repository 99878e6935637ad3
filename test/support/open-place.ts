/** Admits every connection to an HTTP/3 transport. */
import type { ConnectionPlace } from '../../src/transport/http3/options.ts'

export const openPlace = (): ConnectionPlace => ({ handshakeDone: () => {}, release: () => {} })
