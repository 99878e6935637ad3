/** `credentials.toml`: the users, with the spellings that the reference endpoint accepts too. */
import { readToml } from './config-file.ts'
import { credentialsFields } from './credentials-fields.ts'
import { readFields, type Findings } from './read.ts'
import type { ClientSettings } from './settings.ts'

type Entry = Omit<ClientSettings, 'aliases'>
type Credentials = ClientSettings['aliases'][number]

/** No file means no users. Undefined when the file is wrong. Neither passwords nor their lengths are ever reported. */
export function loadClients(file: string | null, findings: Findings): readonly ClientSettings[] | undefined {
  if (file === null) return []
  const raw = readToml(file, file, 'Invalid credentials file', findings)
  if (raw === undefined) return undefined
  const entries = readFields(credentialsFields, raw, file, findings)?.client ?? []
  const seen = new Set<string>()
  for (const entry of entries) {
    const path = findings.placeOf(entry)
    if (seen.has(entry.username)) findings.problem(file, path, `Username must be unique: ${entry.username}`)
    seen.add(entry.username)
    if (entry.username.includes('\0') || entry.password.includes('\0'))
      findings.problem(file, path, 'username and password must not contain a NUL character')
  }
  return entries.map((entry) => ({
    ...entry,
    aliases: aliasesOf(entry, (message) => findings.warn(file, findings.placeOf(entry), message)),
  }))
}

/**
 * The reference takes the text of the file with every quotation mark removed and the ends trimmed, and never splits
 * at the colon. Clients that were set up with it keep working; the value as TOML means it works as well.
 */
function aliasesOf(entry: Entry, warn: (message: string) => void): Credentials[] {
  const aliases: Credentials[] = []
  const stripped = { username: strip(entry.username), password: strip(entry.password) }
  if (stripped.username !== entry.username || stripped.password !== entry.password) {
    warn('quotation marks or outer blanks: accepted as written and, for compatibility, without them')
    if (stripped.username !== '' && stripped.password !== '') aliases.push(stripped)
  }
  for (const each of [entry, ...aliases]) {
    const colon = each.username.indexOf(':')
    if (colon === -1) continue
    warn('the username contains a colon, where Basic authentication ends it')
    const username = each.username.slice(0, colon)
    aliases.push({ username, password: `${each.username.slice(colon + 1)}:${each.password}` })
  }
  return aliases
}

function strip(text: string): string {
  return text.replaceAll('"', '').trim()
}
