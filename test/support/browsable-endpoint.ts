/** An endpoint on which `localhost` is a main host, so that programs can reach and verify it without a resolver. */
import { startEndpoint } from './endpoint.ts'
import type { EndpointOptions, TestEndpoint } from './endpoint.ts'

const HOSTS = `[[main_hosts]]
hostname = "vpn.endpoint"
allowed_sni = ["localhost"]
cert_chain_path = "cert.pem"
private_key_path = "key.pem"
`
/** Nothing listens there: whatever a program wants from the Internet on its own stays on this machine. */
const NO_RESOLVER = '[culvert.dns]\nservers = ["127.0.0.1:1"]'

export function startBrowsableEndpoint(options: EndpointOptions = {}): Promise<TestEndpoint> {
  return startEndpoint({ hosts: HOSTS, ...options, tables: `${NO_RESOLVER}\n${options.tables ?? ''}` })
}
