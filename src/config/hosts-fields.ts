/** `hosts.toml`: the names that the endpoint answers to, and their certificates. */
import { filePath, hostname } from './values.ts'
import { list, tables } from './schema.ts'

const hostFields = {
  hostname: hostname({
    example: 'vpn.endpoint',
    wildcard: true,
    doc: 'The server name, in upper or lower case; `*.example.org` stands for one level.',
  }),
  cert_chain_path: filePath({
    example: 'certs/cert.pem',
    doc: 'Certificate chain in PEM, relative to the working directory; if it is not there, next to this file.',
  }),
  private_key_path: filePath({ example: 'certs/key.pem', doc: 'Private key in PEM, found the same way.' }),
  allowed_sni: list(hostname({ wildcard: true, doc: 'A name.' }), {
    default: [],
    doc: 'Other server names that this host answers to.',
  }),
} as const

export const HOST_LISTS = ['main_hosts', 'ping_hosts', 'speedtest_hosts', 'reverse_proxy_hosts'] as const
export type HostList = (typeof HOST_LISTS)[number]

export const hostsFields = {
  main_hosts: tables(hostFields, {
    doc: 'Names under which clients connect; the first is used for export.',
    reloadable: true,
  }),
  ping_hosts: tables(hostFields, { doc: 'Names that answer every request with 200.', reloadable: true }),
  speedtest_hosts: tables(hostFields, { doc: 'Names that serve the speed test.', reloadable: true }),
  reverse_proxy_hosts: tables(hostFields, {
    doc: 'Names that are served by `[reverse_proxy]`.',
    reloadable: true,
  }),
} as const
