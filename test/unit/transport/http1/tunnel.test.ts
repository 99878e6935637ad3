import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { Http1Tunnel } from '../../../../src/transport/http1/tunnel.ts'
import { SlabPool } from '../../../../src/transport/slab-pool.ts'
import { NotingReceiver } from '../http2/stream-stage.ts'

const KIB = 1024

/** A tunnel whose receiver credits nothing, and whether its connection is read. */
function openTunnel(): { tunnel: Http1Tunnel; isRead: () => boolean } {
  let reads = true
  const socket = { pause: () => void (reads = false), resume: () => void (reads = true) }
  const tunnel = new Http1Tunnel({
    socket: socket as unknown as TLSSocket,
    slabs: new SlabPool(),
    takeInput: () => [],
    clientEnded: false,
    cancelled: false,
    resetConnection: () => {},
  })
  tunnel.start(new NotingReceiver())
  return { tunnel, isRead: () => reads }
}

describe('Http1Tunnel, what its target has not taken', () => {
  it('256 KiB are not read on, until some of it has been taken', () => {
    const { tunnel, isRead } = openTunnel()
    for (let sent = 16 * KIB; sent < 256 * KIB; sent += 16 * KIB) tunnel.onData(Buffer.alloc(16 * KIB))
    expect(isRead()).toBe(true)
    tunnel.onData(Buffer.alloc(16 * KIB))
    expect(isRead()).toBe(false)
    tunnel.credit(1)
    expect(isRead()).toBe(true)
  })

  it('bytes that come one by one count for the memory that they need', () => {
    const { tunnel, isRead } = openTunnel()
    let pieces = 0
    for (; isRead(); pieces++) tunnel.onData(Buffer.alloc(1))
    expect(pieces).toBeLessThanOrEqual(512)
    // All of it counts again once all has been taken.
    for (let times = 0; times < 3; times++) {
      tunnel.credit(pieces - 1)
      expect(isRead()).toBe(true)
      tunnel.credit(1)
      for (let left = pieces - 1; left > 0; left--) tunnel.onData(Buffer.alloc(1))
      expect(isRead()).toBe(true)
      tunnel.onData(Buffer.alloc(1))
      expect(isRead()).toBe(false)
    }
  })
})
