/**
 * Two private network namespaces joined by a cable with the MTU of Ethernet. The endpoint has its own, together with
 * its targets, which it reaches over the loopback interface there: the cable carries what clients send and get, and
 * nothing else. The machine's own interfaces and routes stay as they are.
 */
import { execFileSync } from 'node:child_process'

const MTU_BYTES = 1500
const ENDPOINT_ADDRESS = '10.92.0.1'
const LOAD_ADDRESS = '10.92.0.2'

export interface Cable extends Disposable {
  readonly endpointNamespace: string
  readonly endpointAddress: string
  readonly loadNamespace: string
}

/** Needs what `networkObstacle` (`test/support/routed-network.ts`) looks for. */
export function layCable(): Cable {
  const prefix = `culvert-bench-${process.pid}`
  const [endpoint, load] = [`${prefix}-endpoint`, `${prefix}-load`]
  const remove = (): void => {
    process.off('exit', remove)
    for (const name of [endpoint, load]) {
      try {
        ip('netns', 'del', name)
      } catch {
        // It was never created.
      }
    }
  }
  process.once('exit', remove)
  try {
    for (const name of [endpoint, load]) {
      ip('netns', 'add', name)
      ip('-n', name, 'link', 'set', 'lo', 'up')
    }
    ip('-n', endpoint, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', load)
    attach(endpoint, ENDPOINT_ADDRESS)
    attach(load, LOAD_ADDRESS)
  } catch (error) {
    remove()
    throw error
  }
  return {
    endpointNamespace: endpoint,
    endpointAddress: ENDPOINT_ADDRESS,
    loadNamespace: load,
    [Symbol.dispose]: remove,
  }
}

function attach(namespace: string, address: string): void {
  ip('-n', namespace, 'addr', 'add', `${address}/30`, 'dev', 'cable')
  ip('-n', namespace, 'link', 'set', 'cable', 'mtu', String(MTU_BYTES), 'up')
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}
