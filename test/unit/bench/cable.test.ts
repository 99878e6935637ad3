import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { layCable } from '../../bench/cable.ts'
import { networkObstacle } from '../../support/routed-network.ts'

const obstacle = networkObstacle()
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' })

describe.skipIf(obstacle !== undefined)(`a cable${obstacle ? ` (${obstacle})` : ''}`, () => {
  it('joins two namespaces with the MTU of Ethernet, and goes without a trace', () => {
    using cable = layCable()
    const { endpointNamespace, endpointAddress, loadNamespace } = cable
    for (const name of [endpointNamespace, loadNamespace])
      expect(ip('-n', name, '-o', 'link', 'show', 'cable')).toContain(' mtu 1500 ')
    expect(ip('-n', loadNamespace, 'route', 'get', endpointAddress)).toContain('dev cable')
    expect(ip('-n', endpointNamespace, 'route', 'get', '127.0.0.6')).toContain('dev lo')
    expect(ip('-o', 'link')).not.toContain(' cable')
    cable[Symbol.dispose]()
    expect(ip('netns', 'list')).not.toContain(endpointNamespace)
    expect(ip('netns', 'list')).not.toContain(loadNamespace)
  })
})
