/**
 * Three network namespaces in a row, `here - router - there`, so that packets really expire and really cannot be
 * routed. IPv4 10.91.1.0/24 and 10.91.2.0/24, IPv6 fd91:1::/64 and fd91:2::/64; the router is .1 and ::1 on both sides,
 * the ends are .2 and ::2. The router's link to `there` takes packets of up to 1280 bytes.
 */
import { execFileSync } from 'node:child_process'

export interface RoutedNetwork extends Disposable {
  /** Namespaces to run commands in: `ip netns exec NAME ...`. */
  readonly here: string
  readonly router: string
  readonly there: string
}

/** Why such a network cannot be created; undefined when it can. */
export function networkObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces'
  try {
    const name = `culvert-${process.pid}-try`
    ip('netns', 'add', name)
    ip('netns', 'del', name)
    return undefined
  } catch {
    return 'network namespaces are not permitted here'
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}

export function createRoutedNetwork(): RoutedNetwork {
  const prefix = `culvert-${process.pid}`
  const [here, router, there] = [`${prefix}-here`, `${prefix}-router`, `${prefix}-there`]
  const remove = (): void => {
    for (const name of [here, router, there]) {
      try {
        ip('netns', 'del', name)
      } catch {
        // It was never created.
      }
    }
  }
  try {
    for (const name of [here, router, there]) {
      ip('netns', 'add', name)
      // Addresses work at once, without the second that the check for duplicates takes.
      sysctl(name, 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0')
      ip('-n', name, 'link', 'set', 'lo', 'up')
    }
    link(router, 'left', here, 1)
    link(router, 'right', there, 2)
    for (const side of [router, there]) {
      ip('-n', side, 'link', 'set', side === router ? 'right' : 'up0', 'mtu', '1280')
    }
    // No rate limit, because a test asks more often than a traceroute does.
    sysctl(router, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0', 'net.ipv4.icmp_msgs_per_sec=100000')
    sysctl(router, 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.icmp.ratelimit=0')
    // The router gives up on a missing host after one question.
    sysctl(router, 'net.ipv4.neigh.right.mcast_solicit=1', 'net.ipv6.neigh.right.mcast_solicit=1')
  } catch (error) {
    remove()
    throw error
  }
  return { here, router, there, [Symbol.dispose]: remove }
}

/** A cable between the router's interface `name` and the one interface `up0` of `end`, addressed and routed. */
function link(router: string, name: string, end: string, subnet: number): void {
  ip('-n', router, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'up0', 'netns', end)
  const sides = [
    { namespace: router, device: name, host: 1 },
    { namespace: end, device: 'up0', host: 2 },
  ]
  for (const { namespace, device, host } of sides) {
    ip('-n', namespace, 'link', 'set', device, 'up')
    ip('-n', namespace, 'addr', 'add', `10.91.${subnet}.${host}/24`, 'dev', device)
    ip('-n', namespace, '-6', 'addr', 'add', `fd91:${subnet}::${host}/64`, 'dev', device, 'nodad')
  }
  ip('-n', end, 'route', 'add', 'default', 'via', `10.91.${subnet}.1`)
  ip('-n', end, '-6', 'route', 'add', 'default', 'via', `fd91:${subnet}::1`)
}

function sysctl(namespace: string, ...settings: string[]): void {
  ip('netns', 'exec', namespace, 'sysctl', '-qw', ...settings)
}
