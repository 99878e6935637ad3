/** Debian's nginx on loopback with a configuration of ours: the model that the decoy is compared with. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testCertificate } from './certificate.ts'

export interface Nginx extends AsyncDisposable {
  readonly port: number
}

const BINARY = '/usr/sbin/nginx'
/** What Mozilla's generator writes for `intermediate`, which most operators copy. */
const CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')
const PATIENCE_MS = 10_000

/** For `describe.skipIf`: tests that need nginx say so when it is missing. */
export const hasNginx = existsSync(BINARY) && existsSync('/etc/nginx/mime.types')

/** Serves `root` over TLS with HTTP/1.1 and HTTP/2, as a stock configuration would (`server_tokens off`). */
export async function startNginx(root: string, tables = ''): Promise<Nginx> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-nginx-'))
  const { cert, key } = testCertificate()
  const port = await freePort()
  await mkdir(join(directory, 'temp'))
  await writeFile(join(directory, 'cert.pem'), cert)
  await writeFile(join(directory, 'key.pem'), key, { mode: 0o600 })
  await writeFile(join(directory, 'nginx.conf'), configuration(directory, root, port, tables))
  const child = spawn(BINARY, ['-p', directory, '-c', join(directory, 'nginx.conf')], { stdio: 'ignore' })
  await listening(child, port)
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
      await rm(directory, { recursive: true })
    },
  }
}

function configuration(directory: string, root: string, port: number, tables: string): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${join(directory, 'temp', name)};`)
    .join(' ')
  return `daemon off; master_process off;
pid ${join(directory, 'nginx.pid')}; error_log ${join(directory, 'error.log')};
events { worker_connections 512; }
http {
  include /etc/nginx/mime.types; default_type application/octet-stream;
  server_tokens off; access_log off; sendfile on; keepalive_timeout 65; ${temp}
  server {
    listen 127.0.0.1:${port} ssl http2; server_name localhost; root ${root}; index index.html;
    ssl_certificate ${join(directory, 'cert.pem')}; ssl_certificate_key ${join(directory, 'key.pem')};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off; ssl_ciphers ${CIPHERS}; ${tables}
  }
}
`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`)
    const socket = connect(port, '127.0.0.1')
    const connected = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (connected) return
    if (performance.now() > deadline) throw new Error('nginx does not answer')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
