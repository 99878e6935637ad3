/**
 * An address on an interface without a carrier, and a range with a route of type `local`, belong to the machine though
 * Node lists neither: clients reached services on them. The texts are what Linux 6 printed in such a namespace.
 */
import { expect, it } from 'vitest'
import { parseFibTrie, parseInterfaceAddresses6, parseRoutes6 } from '../../../src/egress/local-routes.ts'

const FIB_TRIE = `Id 100:
  |-- 0.0.0.0
     /0 host LOCAL
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 46.1.0.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/1 2 0 2
     +-- 46.0.0.0/14 2 0 1
        +-- 46.1.0.0/24 2 0 2
           +-- 46.1.0.0/31 1 0 0
              |-- 46.1.0.0
                 /24 link UNICAST
              |-- 46.1.0.1
                 /32 host LOCAL
           |-- 46.1.0.255
              /32 link BROADCAST
        |-- 46.2.0.0
           /24 host LOCAL
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
`

const IF_INET6 = `00000000000000000000000000000001 01 80 10 80       lo
2a000099000000000000000000000001 03 40 00 82       v0
`

const NO_ADDRESS = '00000000000000000000000000000000'
const IPV6_ROUTE = `2a000099000000000000000000000000 40 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000100 00000001 00000000 00000001       v0
${NO_ADDRESS} 00 ${NO_ADDRESS} 00 ${NO_ADDRESS} ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000001 80 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000000 00000003 00000000 80200001       lo
2a000098000000000000000000000000 40 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000400 00000001 00000000 80000001       lo
2a000099000000000000000000000000 80 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000000 00000001 00000000 00300001       v0
ff000000000000000000000000000000 08 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000100 00000001 00000000 00000001       v0
`

it('local routes of IPv4 are those of the local table', () => {
  const found = ['46.1.0.1/32', '46.2.0.0/24', '127.0.0.0/8', '127.0.0.1/32']
  expect(parseFibTrie(FIB_TRIE)).toEqual(found)
  expect(parseFibTrie('')).toEqual([])
})

it('local routes of IPv6 are the local and anycast ones', () => {
  expect(parseRoutes6(IPV6_ROUTE)).toEqual([
    '0000:0000:0000:0000:0000:0000:0000:0001/128',
    '2a00:0098:0000:0000:0000:0000:0000:0000/64',
    '2a00:0099:0000:0000:0000:0000:0000:0000/128',
  ])
})

it('local routes do not include those of a transparent proxy, which would close everything', () => {
  const tproxy = `${NO_ADDRESS} 00 ${NO_ADDRESS} 00 ${NO_ADDRESS} 00000400 00000001 00000000 80000001       lo\n`
  expect(parseRoutes6(tproxy)).toEqual([])
})

it('local routes come with the addresses of all IPv6 interfaces', () => {
  expect(parseInterfaceAddresses6(IF_INET6)).toEqual([
    '0000:0000:0000:0000:0000:0000:0000:0001',
    '2a00:0099:0000:0000:0000:0000:0000:0001',
  ])
})
